//! What ends a script: the allocator's limits, and the hook that looks at the clock. All of the
//! crate's `unsafe` is here.
//!
//! The one design choice: a budget that is used up is a yield and not an error, for an error could
//! be caught (`pcall`). The hook yields, through all coroutines (`prelude.lua` passes it on), and
//! whoever resumed the script sees what is used up and never resumes it. Only where the engine
//! cannot yield, inside its own functions, is an error raised, with each instruction anew, until
//! nothing is left that could catch it.
//!
//! The hook is the engine's own, so coroutines inherit it from whoever makes them. It finds its
//! data through the allocator's pointer, which all coroutines of an interpreter share.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::time::{Duration, Instant};

use mlua::{Lua, ffi};

use crate::error::Exceeded;
use crate::limits::{
    BLOCK_BYTES, MEMORY_RESERVE, SLICE, SLOW_WINDOW, TEXT_BYTES, UNINTERRUPTED, WINDOW,
};

/// What is watched in one interpreter, and what has come of it.
pub(crate) struct Guard(Box<Watch>);

struct Watch {
    /// A script runs, and not the host's own Lua.
    running: Cell<bool>,
    inner: ffi::lua_Alloc,
    inner_data: *mut c_void,
    used: Cell<usize>,
    limit: Cell<usize>,
    /// The limit was met; the reserve is open.
    exhausted: Cell<bool>,
    /// What was refused last: the engine asks again when it has collected its garbage.
    refused: Cell<(usize, usize, usize)>,
    over: Cell<Option<Exceeded>>,
    instructions: Cell<u64>,
    looked: Cell<Instant>,
    slice_end: Cell<Instant>,
    time_end: Cell<Instant>,
    hard_end: Cell<Instant>,
}

impl Guard {
    /// Puts the guard into an interpreter that has no coroutines yet.
    pub(crate) fn new(lua: &Lua, memory: usize) -> mlua::Result<Self> {
        let now = Instant::now();
        let mut inner_data = ptr::null_mut();
        let mut inner = None;
        // SAFETY: the function only reads two fields of the state and pushes nothing.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                inner = Some(ffi::lua_getallocf(state, &raw mut inner_data));
            })?;
        }
        let watch = Box::new(Watch {
            running: Cell::new(false),
            inner: inner.ok_or_else(|| mlua::Error::runtime("the engine has no allocator"))?,
            inner_data,
            used: Cell::new(lua.used_memory()),
            limit: Cell::new(memory),
            exhausted: Cell::new(false),
            refused: Cell::new((0, 0, 0)),
            over: Cell::new(None),
            instructions: Cell::new(u64::MAX),
            looked: Cell::new(now),
            slice_end: Cell::new(now + SLICE),
            time_end: Cell::new(now + SLICE),
            hard_end: Cell::new(now + UNINTERRUPTED),
        });
        let data: *const Watch = &raw const *watch;
        // SAFETY: `allocate` passes on to the allocator that served until now, so blocks made
        // before and after are freed alike. The watch is boxed and outlives its use: `remove` puts
        // the old allocator back before it is dropped.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                ffi::lua_setallocf(state, allocate, data.cast_mut().cast());
                ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, WINDOW.cast_signed());
            })?;
        }
        Ok(Self(watch))
    }

    /// Takes the guard out again, before the interpreter is dropped.
    pub(crate) fn remove(&self, lua: &Lua) {
        let (inner, data) = (self.0.inner, self.0.inner_data);
        // SAFETY: the allocator that is put back is the one behind `allocate`. Nothing runs in
        // this interpreter any more, so no hook is called.
        let removed = unsafe {
            lua.exec_raw::<()>((), |state| {
                ffi::lua_setallocf(state, inner, data);
            })
        };
        debug_assert!(removed.is_ok(), "nothing is allocated here");
    }

    /// Begins a slice for a script that has so much left.
    pub(crate) fn begin(&self, instructions: u64, time: Duration) {
        let watch = &self.0;
        let now = Instant::now();
        watch.running.set(true);
        watch.over.set(None);
        watch.exhausted.set(false);
        watch.refused.set((0, 0, 0));
        watch.instructions.set(instructions);
        watch.looked.set(now);
        watch.slice_end.set(now + SLICE);
        watch.time_end.set(now + time);
        watch.hard_end.set(now + UNINTERRUPTED);
    }

    /// Ends the slice: what the script has left of its instructions, and what it has used up.
    pub(crate) fn end(&self) -> (u64, Option<Exceeded>) {
        self.0.running.set(false);
        (self.0.instructions.get(), self.0.over.get())
    }

    /// Has the clock looked at with the next instruction of the coroutine that runs, and counts
    /// `cost` instructions: something else than instructions took time.
    pub(crate) fn look_soon(&self, lua: &Lua, cost: u64) -> mlua::Result<()> {
        self.0.instructions.set(self.0.instructions.get().saturating_sub(cost));
        // SAFETY: within a function that a script called, the state is the coroutine that runs.
        unsafe { lua.exec_raw::<()>((), |state| set_window(state, &self.0, 0, 1)) }
    }

    /// Ends the script that runs, as soon as it comes back to where it can be ended.
    pub(crate) fn set_over(&self, what: Exceeded) {
        self.0.over.set(self.0.over.get().or(Some(what)));
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.0.used.get()
    }

    /// Whether the script that runs has met the limit of memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.exhausted.get()
    }
}

/// The allocator of an interpreter: counts, and refuses what is past the limits.
unsafe extern "C" fn allocate(
    data: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: `data` is the watch that `Guard::new` gave, which outlives this allocator; all of it
    // is only read, or in cells.
    let watch = unsafe { &*data.cast::<Watch>() };
    // Without a block, `old` is the kind of what is made.
    let (before, is_text) =
        if block.is_null() { (0, old == ffi::LUA_TSTRING as usize) } else { (old, false) };
    let used = watch.used.get();
    if new > before {
        let reserve = if watch.exhausted.get() { MEMORY_RESERVE } else { 0 };
        // The engine's header of a text is shorter than this.
        let is_long = is_text && new > TEXT_BYTES + 64;
        if is_long || new > BLOCK_BYTES {
            return ptr::null_mut();
        }
        if used - before + new > watch.limit.get() + reserve {
            let asked = (block as usize, old, new);
            if watch.refused.replace(asked) == asked {
                watch.exhausted.set(true);
            }
            return ptr::null_mut();
        }
    }
    // SAFETY: the arguments are the engine's own, for the allocator that made all its blocks.
    let result = unsafe { (watch.inner)(watch.inner_data, block, old, new) };
    if new == 0 || !result.is_null() {
        watch.used.set(used - before + new);
    }
    result
}

/// Called by the engine each [`WINDOW`] instructions or sooner, in whatever coroutine runs.
unsafe extern "C-unwind" fn hook(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    let mut data = ptr::null_mut();
    // SAFETY: `state` is the coroutine that runs. The allocator's data is the watch: the hook is
    // set together with it, and nothing runs after it was removed.
    let watch = unsafe {
        ffi::lua_getallocf(state, &raw mut data);
        &*data.cast::<Watch>()
    };
    if !watch.running.get() {
        return;
    }
    // SAFETY: reads a field.
    let count = unsafe { ffi::lua_gethookcount(state) }.cast_unsigned();
    let now = Instant::now();
    let left = watch.instructions.get().saturating_sub(u64::from(count));
    watch.instructions.set(left);
    let over = watch.over.get().or(if left == 0 {
        Some(Exceeded::Instructions)
    } else if watch.exhausted.get() {
        Some(Exceeded::Memory)
    } else if now >= watch.time_end.get() {
        Some(Exceeded::Time)
    } else {
        None
    });
    // What the engine does between two looks must stay short, whatever its instructions cost.
    let was_slow = now.saturating_duration_since(watch.looked.replace(now)) > SLOW_WINDOW;
    let mut next = if was_slow { (count / 16).max(1) } else { (count * 2).min(WINDOW) };
    let mut failed = false;
    if over.is_some() || now >= watch.slice_end.get() {
        watch.over.set(over);
        // SAFETY: reads a field.
        if unsafe { ffi::lua_isyieldable(state) } != 0 {
            // SAFETY: a hook for counts may yield, without values, as the last thing it does;
            // what is set here is a field.
            unsafe {
                set_window(state, watch, count, if over.is_some() { 1 } else { next });
                ffi::lua_yield(state, 0);
            }
            return;
        }
        if over.is_some() || now >= watch.hard_end.get() {
            watch.over.set(over.or(Some(Exceeded::Uninterrupted)));
            (next, failed) = (1, true);
        }
    }
    // SAFETY: sets a field; raising an error leaves this function, in which nothing is left to
    // drop, by a jump that its ABI allows.
    unsafe {
        set_window(state, watch, count, next);
        if failed {
            ffi::luaL_error(state, c"a budget of the script is used up".as_ptr());
        }
    }
}

/// Sets after how many instructions the hook is called again.
///
/// The engine goes through all calls that are under way, which with many of them takes long: that
/// must not look like slow instructions.
unsafe fn set_window(state: *mut ffi::lua_State, watch: &Watch, was: u32, window: u32) {
    if was != window {
        // SAFETY: `state` is the coroutine that runs, as the caller warrants.
        unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, window.cast_signed()) };
        watch.looked.set(Instant::now());
    }
}
