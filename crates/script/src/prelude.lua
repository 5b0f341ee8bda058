-- What scripts find: the libraries of Lua, with everything replaced that a script could use to
-- escape its budgets. Runs once in a new interpreter.
--
-- A coroutine of a script yields to its own resumer with `false` in front. Whatever else it yields
-- is for the loop, and is passed on by `resume` through all coroutines: nothing, when its slice
-- is used up, or `true` and a number, when it waits.

local host = ...

local error, select, type, rawget, rawequal = error, select, type, rawget, rawequal
local raw_pcall, raw_xpcall, raw_setmetatable, getmetatable = pcall, xpcall, setmetatable, getmetatable
local raw_load, raw_tostring, pairs, next = load, tostring, pairs, next
local co_create, co_resume, co_yield = coroutine.create, coroutine.resume, coroutine.yield
local co_status, co_close = coroutine.status, coroutine.close
local concat, raw_insert, raw_remove, unpack = table.concat, table.insert, table.remove, table.unpack
local raw_rep, sub, math_type = string.rep, string.sub, math.type

local TEXT_BYTES, LOADED_BYTES = host.text_bytes, host.loaded_bytes
-- The engine's own words, by which an error for want of memory is known.
local NO_MEMORY = "not enough memory"

-- Functions of the host answer `true` and their results, or `false` and a message.

local function checked(ok, ...)
    if ok then return ... end
    error((...), 2)
end

local function now(f)
    return function(...) return checked(f(...)) end
end

local function finish(token, ...)
    if token then return checked(co_yield(true, token)) end
    return checked(...)
end

local function later(f)
    return function(...) return finish(f(...)) end
end

-- Catching errors: all but the want of memory.

local function caught(ok, e, ...)
    if not ok and e == NO_MEMORY then error(NO_MEMORY, 0) end
    return ok, e, ...
end

local function pcall(...) return caught(raw_pcall(...)) end
local function xpcall(...) return caught(raw_xpcall(...)) end

-- Coroutines.

-- Those that wait for the loop: nobody else may resume them.
local waiting = raw_setmetatable({}, { __mode = "k" })
local passed

local function arrived(co, ok, kind, ...)
    if not ok then return caught(false, kind) end
    if co_status(co) == "dead" then return true, kind, ... end
    if kind == false then return true, ... end
    waiting[co] = true
    return passed(co, co_yield(kind, ...))
end

passed = function(co, ...)
    waiting[co] = nil
    return arrived(co, co_resume(co, ...))
end

local function resume(co, ...)
    if waiting[co] then return false, "cannot resume a coroutine that another script waits in" end
    return arrived(co, co_resume(co, ...))
end

local function unwrapped(co, ok, ...)
    if ok then return ... end
    if co_status(co) ~= "running" then co_close(co) end
    error((...), 0)
end

local safe_coroutine = {
    create = co_create,
    resume = resume,
    yield = function(...) return co_yield(false, ...) end,
    wrap = function(f)
        local co = co_create(f)
        return function(...) return unwrapped(co, resume(co, ...)) end
    end,
    close = function(co)
        if waiting[co] then error("cannot close a coroutine that another script waits in", 2) end
        return caught(co_close(co))
    end,
    status = co_status,
    running = coroutine.running,
    isyieldable = coroutine.isyieldable,
}

-- Texts: patterns are matched by the host.

local find, find_captures = now(host.find), now(host.match)
local next_match, replace = now(host.next_match), now(host.replace)

local function matched(s, from, until_, ...)
    if not from then return nil end
    if select("#", ...) > 0 then return ... end
    return sub(s, from, until_)
end

local function text(s, n, name)
    if type(s) == "string" then return s end
    if type(s) == "number" then return raw_tostring(s) end
    error(("bad argument #%d to '%s' (string expected, got %s)"):format(n, name, s == nil and "no value" or type(s)), 3)
end

local function match(s, pattern, init)
    return find_captures(text(s, 1, "match"), text(pattern, 2, "match"), init)
end

local function advance(state, from, until_, ...)
    if not from then state.at = nil return nil end
    state.at, state.last = until_ + 1, until_
    return matched(state.s, from, until_, ...)
end

local function gmatch(s, pattern, init)
    s, pattern = text(s, 1, "gmatch"), text(pattern, 2, "gmatch")
    init = init or 1
    if init < 0 then init = #s + init + 1 end
    local state = { s = s, at = init < 1 and 1 or init }
    return function()
        if not state.at then return nil end
        return advance(state, next_match(s, pattern, state.at, state.last, false))
    end
end

local function replacement(with, kind, whole, first, ...)
    if first == nil then first = whole end
    local value
    if kind == "table" then value = with[first] else value = with(first, ...) end
    if not value then return whole end
    if type(value) == "string" then return value end
    if type(value) == "number" then return raw_tostring(value) end
    error("invalid replacement value (a " .. type(value) .. ")", 3)
end

local function gsub_by(s, pattern, with, kind, most)
    local anchored = sub(pattern, 1, 1) == "^"
    if anchored then pattern = sub(pattern, 2) end
    local pieces, count, at, last, n, bytes = {}, 0, 1, nil, 0, 0
    local function add(piece)
        n = n + 1
        pieces[n] = piece
        bytes = bytes + #piece
        if bytes > TEXT_BYTES then error("the result is longer than a text may be", 3) end
    end
    local function one(from, until_, ...)
        if not from then return false end
        if from > at then add(sub(s, at, from - 1)) end
        count = count + 1
        add(replacement(with, kind, sub(s, from, until_), ...))
        at, last = until_ + 1, until_
        return true
    end
    while count < most and one(next_match(s, pattern, at, last, anchored)) and not anchored do end
    if at <= #s then add(sub(s, at)) end
    return concat(pieces), count
end

local function gsub(s, pattern, with, most)
    s, pattern = text(s, 1, "gsub"), text(pattern, 2, "gsub")
    local kind = type(with)
    if kind == "string" or kind == "number" then
        return replace(s, pattern, raw_tostring(with), most)
    end
    if kind ~= "table" and kind ~= "function" then
        error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
    end
    return gsub_by(s, pattern, with, kind, most or math.maxinteger)
end

local function rep(s, n, separator)
    s = text(s, 1, "rep")
    local each = #s + (separator and #text(separator, 3, "rep") or 0)
    if math_type(n) == "integer" and n > 0 and each > 0 and n > TEXT_BYTES // each then
        error("resulting string too large", 2)
    end
    return raw_rep(s, n, separator)
end

-- Tables: what takes long is done step by step, so that it can be interrupted.

local function insert(t, ...)
    if select("#", ...) ~= 2 then return raw_insert(t, ...) end
    local at, value = ...
    local n = #t + 1
    if math_type(at) ~= "integer" or at < 1 or at > n then
        error("bad argument #2 to 'insert' (position out of bounds)", 2)
    end
    for i = n, at + 1, -1 do t[i] = t[i - 1] end
    t[at] = value
end

local function remove(t, at)
    local n = #t
    if at == nil or at == n or math_type(at) ~= "integer" or at < 1 or at > n then
        return raw_remove(t, at)
    end
    local value = t[at]
    for i = at, n - 1 do t[i] = t[i + 1] end
    t[n] = nil
    return value
end

local function move(from, first, last, at, to)
    to = to or from
    if last < first then return to end
    if at > last or at <= first or to ~= from then
        for i = 0, last - first do to[at + i] = from[first + i] end
    else
        for i = last - first, 0, -1 do to[at + i] = from[first + i] end
    end
    return to
end

local function is_less(a, b) return a < b end

-- By merging: whatever the comparison says, it ends.
local function sort(t, less)
    less = less or is_less
    local n = #t
    local run = 8
    for low = 1, n, run do
        for i = low + 1, low + run - 1 > n and n or low + run - 1 do
            local value, j = t[i], i - 1
            while j >= low and less(value, t[j]) do
                t[j + 1] = t[j]
                j = j - 1
            end
            t[j + 1] = value
        end
    end
    local from, to = t, {}
    while run < n do
        for low = 1, n, 2 * run do
            local i, middle = low, low + run
            local j, high = middle, low + 2 * run
            if middle > n + 1 then middle = n + 1 end
            if high > n + 1 then high = n + 1 end
            for k = low, high - 1 do
                if i < middle and (j >= high or not less(from[j], from[i])) then
                    to[k] = from[i]
                    i = i + 1
                else
                    to[k] = from[j]
                    j = j + 1
                end
            end
        end
        from, to = to, from
        run = 2 * run
    end
    if from ~= t then
        for i = 1, n do t[i] = from[i] end
    end
end

-- The rest of the globals.

local function setmetatable(t, meta)
    -- A finalizer would run where no budget reaches it.
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
        error("'__gc' is not to be had in scripts; use '__close', or end things yourself", 2)
    end
    return raw_setmetatable(t, meta)
end

local emit = host.emit
local function print(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = raw_tostring((select(i, ...))) end
    if not emit(concat(parts, "\t")) then
        -- The budget of output is used up; nobody comes back to this.
        co_yield()
        error("the budget of output is used up", 0)
    end
end

local function copied(from)
    local copy = {}
    for name, value in next, from do copy[name] = value end
    return copy
end

local safe_string = copied(string)
safe_string.dump = nil
safe_string.find = function(s, pattern, init, plain)
    return find(text(s, 1, "find"), text(pattern, 2, "find"), init, plain or false)
end
safe_string.match, safe_string.gmatch, safe_string.gsub, safe_string.rep = match, gmatch, gsub, rep

local safe_table = copied(table)
safe_table.insert, safe_table.remove, safe_table.move, safe_table.sort = insert, remove, move, sort

-- Methods of texts are those of scripts, and cannot be replaced for others.
local texts = getmetatable("")
texts.__index = copied(safe_string)
texts.__metatable = false

local libraries = {
    coroutine = safe_coroutine,
    math = copied(math),
    string = safe_string,
    table = safe_table,
    utf8 = copied(utf8),
}

-- What makes a script's own library of what the host gives.
local makers = {}

local functions = {
    _VERSION = _VERSION,
    assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next,
    pairs = pairs, pcall = pcall, print = print, rawequal = rawequal, rawget = rawget,
    rawlen = rawlen, rawset = rawset, select = select, setmetatable = setmetatable,
    tonumber = tonumber, tostring = raw_tostring, type = type, xpcall = xpcall,
    sleep = later(host.sleep),
}

local start, wait, cancel = now(host.start), later(host.wait), now(host.cancel)
local script_methods = { __index = {
    wait = function(self) return wait(self.id) end,
    cancel = function(self) return cancel(self.id) end,
} }
functions.start = function(f, ...)
    return raw_setmetatable({ id = start(f, ...) }, script_methods)
end

-- The globals of one script: its own copies, so that no script can change another's.
local function environment()
    local env = copied(functions)
    for name, library in next, libraries do
        env[name] = copied(library)
        if makers[name] then env[name] = makers[name](env[name], raw_setmetatable) end
    end
    env._G = env
    env.load = function(chunk, name, _, globals)
        if type(chunk) ~= "string" then error("bad argument #1 to 'load' (string expected)", 2) end
        if #chunk > LOADED_BYTES then return nil, "the chunk is longer than a script may load" end
        local f, why = raw_load(chunk, name, "t", globals == nil and env or globals)
        if #chunk > 1000 then host.look() end
        return f, why
    end
    return env
end

-- Adds a library, or functions to one: those that answer now and those that answer later.
local function add(name, nows, laters, values)
    local library = libraries[name] or {}
    libraries[name] = library
    for key, f in next, nows do library[key] = now(f) end
    for key, f in next, laters do library[key] = later(f) end
    for key, value in next, values do library[key] = value end
end

-- Has each script's copy of a library made by this function.
local function finish_library(name, make) makers[name] = make end

return environment, add, finish_library
