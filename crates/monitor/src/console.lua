-- What operators find: the tree of the server, actions, trials, help; and how statements are read
-- and results shown. Runs once in the interpreter of a session, which is its alone.

local host = monitor
monitor = nil

local load, type, error, tostring, pairs, ipairs = load, type, error, tostring, pairs, ipairs
local getmetatable, setmetatable, rawget, select, print = getmetatable, setmetatable, rawget, select, print
local concat, sort, pack, unpack = table.concat, table.sort, table.pack, table.unpack
local math_type = math.type
local find, match, sub, gsub, format = string.find, string.match, string.sub, string.gsub, string.format
local json_encode, json_decode, null = json.encode, json.decode, json.null
local pcall, gmatch, utf8_len = pcall, string.gmatch, utf8.len
local globals = _G

-- Nodes of the tree: a table of their fields, whose order and units are in its metatable.

local kinds = {}

local function kind_of(names, units)
    local key = concat(names, "\0")
    local kind = kinds[key]
    if not kind then
        kind = { __order = names, __units = units }
        kinds[key] = kind
    end
    return kind
end

local function node_of(fields, first, name)
    local node, names, units = {}, {}, {}
    if first then
        node[first] = name
        names[1] = first
    end
    for i = 1, #fields, 3 do
        local field, unit = fields[i], fields[i + 2]
        node[field] = fields[i + 1]
        names[#names + 1] = field
        if unit then units[field] = unit end
    end
    return setmetatable(node, kind_of(names, units))
end

local function path_of(path, n, what)
    if path == nil then return "" end
    if type(path) ~= "string" then
        error(format("bad argument #%d to '%s': a path is a text, as \"channels/4.1\"", n, what), 3)
    end
    return path
end

function look(path)
    local found = host.look(path_of(path, 1, "look"))
    local node = node_of(found.fields)
    local names = getmetatable(node).__order
    if #found.children > 0 or #found.actions > 0 then
        -- The order is shared by nodes of the same fields.
        names = { unpack(names) }
        if #found.children > 0 then
            node.below = found.children
            names[#names + 1] = "below"
        end
        if #found.actions > 0 then
            local usages = {}
            for i, action in ipairs(found.actions) do usages[i] = action.usage end
            node.actions = usages
            names[#names + 1] = "actions"
        end
        setmetatable(node, kind_of(names, getmetatable(node).__units))
    end
    return node
end

-- Filters: a text that any field contains, fields with what they contain or are, or a function.

local function fits(value, wanted)
    if type(wanted) == "string" then
        return find(tostring(value), wanted, 1, true) ~= nil
    end
    return value == wanted
end

local function matcher(filter, what)
    if filter == nil then
        return function() return true end
    elseif type(filter) == "function" then
        return function(node, name) return filter(node, name) end
    elseif type(filter) == "string" then
        return function(node, name)
            if find(name, filter, 1, true) then return true end
            for _, value in pairs(node) do
                if fits(value, filter) then return true end
            end
            return false
        end
    elseif type(filter) == "table" then
        return function(node)
            for field, wanted in pairs(filter) do
                if node[field] == nil or not fits(node[field], wanted) then return false end
            end
            return true
        end
    end
    error("bad argument #2 to '" .. what .. "': a filter is a text, a table of fields, or a function", 3)
end

-- A list is read page by page as it is walked through or shown, so that it may be of any length.

local lists = {}
lists.__index = lists

function lists:rows()
    local path, fits_filter = self.path, self.matches
    local page, at, from, is_last
    return function()
        while true do
            at = at and at + 1
            local row = page and page[at]
            if row then
                local node = node_of(row.fields, "name", row.name)
                if fits_filter(node, row.name) then return row.name, node end
            elseif is_last then
                return nil
            else
                local answer = host.list(path, from)
                page, at, from = answer.list, 0, answer.next
                is_last = from == nil
            end
        end
    end
end

function lists:count()
    local n = 0
    for _ in self:rows() do n = n + 1 end
    return n
end

function lists:all()
    local all = {}
    for _, node in self:rows() do all[#all + 1] = node end
    return all
end

function lists:each(f)
    local n = 0
    for name, node in self:rows() do
        f(name, node)
        n = n + 1
    end
    return n
end

-- `for name, node in list(...) do`
lists.__call = function(self)
    self.walk = self.walk or self:rows()
    local name, node = self.walk()
    if name == nil then self.walk = nil end
    return name, node
end

function list(path, filter)
    path = path_of(path, 1, "list")
    return setmetatable({ path = path, matches = matcher(filter, "list") }, lists)
end

function act(path, action, ...)
    path = path_of(path, 1, "act")
    if type(action) ~= "string" then
        error("bad argument #2 to 'act': an action is a text, as \"close\"; look at the path to see them", 2)
    end
    local arguments = {}
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        if type(value) == "table" or type(value) == "function" or value == nil then
            error(format("bad argument #%d to 'act': an action takes texts and numbers", i + 2), 2)
        end
        arguments[i] = tostring(value)
    end
    return host.act(path, action, unpack(arguments))
end

function tree(path, depth)
    path = path_of(path, 1, "tree")
    local left = 500
    local function walk(path, depth)
        local found = host.look(path)
        if #found.children == 0 then return found.kind end
        if depth <= 0 or found.more or #found.children > 40 then
            return format("%s, %s%d below", found.kind, found.more and "more than " or "", #found.children)
        end
        local below, names = {}, {}
        for _, name in ipairs(found.children) do
            if left <= 0 then break end
            left = left - 1
            below[name] = walk(path == "" and name or path .. "/" .. name, depth - 1)
            names[#names + 1] = name
        end
        return setmetatable(below, { __order = names })
    end
    return walk(path, depth or 2)
end

-- Shorter words for what is done most.

function channels(filter) return list("channels", filter) end
function sessions(filter) return list("sessions", filter) end

local function on_channels(action)
    return function(what, ...)
        if type(what) == "string" then return act("channels/" .. what, action, ...) end
        if type(what) ~= "table" then
            error(format("bad argument #1 to '%s': a name in quotes, as \"4.1\", or what channels() gives", action), 2)
        end
        local n, missed = 0, 0
        local function one(name, ...)
            local ok, why = pcall(act, "channels/" .. name, action, ...)
            if ok then n = n + 1
            -- It may have ended since.
            elseif find(why, "there is no channel", 1, true) then missed = missed + 1
            else error(why, 0) end
        end
        if getmetatable(what) == lists then
            for name in what:rows() do one(name, ...) end
        else
            for _, entry in ipairs(what) do one(type(entry) == "table" and entry.name or entry, ...) end
        end
        return format("%s: %d channels%s", action, n, missed > 0 and format(", %d had ended", missed) or "")
    end
end

close, pause, resume = on_channels("close"), on_channels("pause"), on_channels("resume")

-- Trials: what is changed inside is undone unless it is confirmed.

function try(seconds, f, ...)
    if math_type(seconds) == nil or not (seconds > 0) then
        error("bad argument #1 to 'try': the seconds within which you will confirm()", 2)
    end
    if type(f) ~= "function" then
        error("bad argument #2 to 'try': a function, as function() act(...) end", 2)
    end
    host.trial_begin()
    f(...)
    return host.trial_arm(seconds)
end

function confirm() return host.trial_confirm() end
function undo() return host.trial_undo() end

function follow(what, filter)
    if filter ~= nil and type(filter) ~= "string" then
        error("bad argument #2 to 'follow': a text that the lines contain", 2)
    end
    if what ~= nil and type(what) ~= "string" then
        error("bad argument #1 to 'follow': the name of a log, as \"stderr\"", 2)
    end
    return host.follow(what or "", filter)
end

-- Help.

local topics = HELP
HELP = nil

local function explained(path)
    local found = host.look(path)
    local lines = { format("%s: %s. %s", path == "" and "the server" or path, found.kind, found.about) }
    for i = 1, #found.fields, 3 do
        local name = found.fields[i]
        local note = found.notes[name]
        lines[#lines + 1] = "  " .. name .. (note and ": " .. note or "")
    end
    for _, action in ipairs(found.actions) do
        lines[#lines + 1] = format('  act("%s", "%s"%s): %s (for `%s`%s)', path, action.name,
            action.arguments == "" and "" or ", " .. action.arguments, action.about, action.level,
            action.undoable and ", can be tried" or "")
    end
    if #found.children > 0 then
        local names = { unpack(found.children, 1, 20) }
        lines[#lines + 1] = "  below: " .. concat(names, ", ") .. (#found.children > 20 and ", …" or "")
    end
    return concat(lines, "\n")
end

local function help_on(topic)
    if topic == nil then return topics[""] end
    if type(topic) ~= "string" then
        for name, value in pairs(globals) do
            if value == topic and topics[name] then return topics[name] end
        end
        error("there is help on names: help, or help \"channels\"", 3)
    end
    if topics[topic] then return topics[topic] end
    local ok, text = pcall(explained, topic)
    if ok then return text end
    local names = {}
    for name in pairs(topics) do if name ~= "" then names[#names + 1] = name end end
    sort(names)
    error(format("there is no help on '%s', and nothing in the tree is called so. There is help on: %s",
        topic, concat(names, ", ")), 3)
end

local shown_help = { __show = function(self) return self.text end }
help = setmetatable({}, {
    __call = function(_, topic) return setmetatable({ text = help_on(topic) }, shown_help) end,
    __show = function() return topics[""] end,
})

-- Results: copied into what the host turns into JSON. A list begins with "l", a map with "m".

local MAX_DEPTH, MAX_PARTS, MAX_TEXT, MAX_ENTRIES = host.depth, host.parts, host.text, host.entries

local function sorted_keys(t)
    local order = getmetatable(t)
    order = type(order) == "table" and rawget(order, "__order")
    if order then return order end
    local keys = {}
    for key in pairs(t) do keys[#keys + 1] = key end
    sort(keys, function(a, b)
        local ta, tb = type(a), type(b)
        if ta ~= tb then return ta < tb end
        if ta == "number" or ta == "string" then return a < b end
        return false
    end)
    return keys
end

local function is_list(t)
    local meta = getmetatable(t)
    if meta == false then return true end -- marked by json.array
    local n = #t
    if n == 0 or (type(meta) == "table" and rawget(meta, "__order")) then return false end
    for key in pairs(t) do
        if math_type(key) ~= "integer" or key < 1 or key > n then return false end
    end
    return true
end

local function cut(out, text)
    if #text > out.text then
        text = sub(text, 1, out.text > 0 and out.text or 0)
        out.cut = true
    end
    out.text = out.text - #text
    return text
end

local encode

local function encode_table(out, t, depth)
    if depth <= 0 then
        out.cut = true
        return "…"
    end
    local meta = getmetatable(t)
    local units = type(meta) == "table" and rawget(meta, "__units")
    if units then for name, unit in pairs(units) do out.units[name] = unit end end
    local coded
    if is_list(t) then
        coded = { "l" }
        for i = 1, #t do
            if i > MAX_ENTRIES or out.parts <= 0 then out.cut = true break end
            coded[i + 1] = encode(out, t[i], depth - 1)
        end
    else
        coded = { "m" }
        local n = 0
        for _, key in ipairs(sorted_keys(t)) do
            n = n + 1
            if n > MAX_ENTRIES or out.parts <= 0 then out.cut = true break end
            coded[#coded + 1] = cut(out, tostring(key))
            coded[#coded + 1] = encode(out, t[key], depth - 1)
        end
    end
    return coded
end

encode = function(out, value, depth)
    out.parts = out.parts - 1
    local kind = type(value)
    if kind == "nil" or value == null then return null end
    if kind == "string" then return cut(out, value) end
    if kind == "table" then return encode_table(out, value, depth) end
    -- Where a function is in memory is nobody's business.
    if kind == "function" or kind == "thread" then return kind end
    return value
end

-- What follows of the result that was shown last: a function that gives the next entry, and what
-- they are gathered in.
local rest

local function walk(value)
    if getmetatable(value) == lists then
        local rows = value:rows()
        return "l", function() local _, node = rows() return node end
    elseif is_list(value) then
        local i = 0
        return "l", function() i = i + 1 return value[i] end
    end
    local keys, i = sorted_keys(value), 0
    return "m", function()
        i = i + 1
        return value[keys[i]], keys[i]
    end
end

local function page(out, rows)
    local coded, n = { rest.kind }, 0
    local meta = rest.meta
    local units = type(meta) == "table" and rawget(meta, "__units")
    if units then for name, unit in pairs(units) do out.units[name] = unit end end
    -- An entry is held back, so that it is known whether there is a next page.
    if not rest.held then rest.held = pack(rest.next()) end
    while rest.held[1] ~= nil do
        if n >= rows or (n > 0 and (out.parts < MAX_PARTS // 10 or out.text < MAX_TEXT // 10)) then
            return coded, true
        end
        n = n + 1
        if rest.kind == "m" then coded[#coded + 1] = cut(out, tostring(rest.held[2])) end
        coded[#coded + 1] = encode(out, rest.held[1], MAX_DEPTH)
        rest.held = pack(rest.next())
    end
    rest = nil
    return coded, false
end

local function begin()
    return { parts = MAX_PARTS, text = MAX_TEXT, units = {}, cut = false }
end

local function result(out, values, more)
    return { values = values, units = out.units, cut = out.cut, more = more }
end

local function show(rows, ...)
    local out, values, more = begin(), { "l" }, false
    rest = nil
    for i = 1, select("#", ...) do
        local value = (select(i, ...))
        local meta = type(value) == "table" and getmetatable(value)
        local text = type(meta) == "table" and rawget(meta, "__show")
        if text then
            print(text(value))
        elseif i == 1 and type(value) == "table" then
            local kind, next_entry = walk(value)
            rest = { kind = kind, next = next_entry, meta = meta }
            values[#values + 1], more = page(out, rows)
        else
            values[#values + 1] = encode(out, value, MAX_DEPTH)
        end
    end
    return result(out, values, more)
end

local function more(rows)
    if not rest then error("there is nothing more to be shown", 0) end
    local out = begin()
    local values, is_more = page(out, rows)
    return result(out, { "l", values }, is_more)
end

-- Statements: an expression, or a chunk.

-- Texts in simple quotes end with their line; everything else may go on in the next.
local function is_open(why)
    return why ~= nil and sub(why, -5) == "<eof>" and not find(why, "unfinished string", 1, true)
end

local function run(code, rows)
    local asked = match(code, "^%s*=(.*)$")
    local f, why = load("return " .. (asked or code), "=statement")
    local first = why
    if not f and not asked then f, why = load(code, "=statement") end
    if not f then
        return { wrong = why, incomplete = is_open(why) or is_open(first) }
    end
    return show(rows, f())
end

-- Completion.

local function is_word(name) return type(name) == "string" and match(name, "^[%a_][%w_]*$") end

local function beginning(names, part)
    local found, seen = {}, {}
    for _, name in ipairs(names) do
        if sub(name, 1, #part) == part and not seen[name] then
            seen[name] = true
            found[#found + 1] = name
        end
    end
    sort(found)
    return { unpack(found, 1, 200) }
end

-- What stands in the quotes that are open at the end, and what stands before them.
local function open_text(text)
    local quote, start
    local i = 1
    while i <= #text do
        local c = sub(text, i, i)
        if quote then
            if c == "\\" then i = i + 1
            elseif c == quote or c == "\n" then quote = nil end
        elseif c == '"' or c == "'" then
            quote, start = c, i
        end
        i = i + 1
    end
    if quote then return sub(text, start + 1), sub(text, 1, start - 1) end
end

local function names_at(path)
    local ok, found = pcall(host.look, path)
    return ok and found or { children = {}, actions = {} }
end

local function complete(code, at)
    local text = sub(code, 1, at)
    local inside, before = open_text(text)
    if inside then
        local path = match(before, "act%s*%(%s*[\"']([^\"']*)[\"']%s*,%s*$")
        local names = {}
        if path then
            for i, action in ipairs(names_at(path).actions) do names[i] = action.name end
            return { from = at - #inside, names = beginning(names, inside) }
        end
        local base, part = match(inside, "^(.-)([^/]*)$")
        local short = match(before, "([%a_]+)%s*%(?%s*$")
        if short == "close" or short == "pause" or short == "resume" then base = "channels/" .. base end
        names = names_at(base).children
        if short == "help" then
            names = { unpack(names) }
            for topic in pairs(topics) do if topic ~= "" then names[#names + 1] = topic end end
        end
        return { from = at - #part, names = beginning(names, part) }
    end
    local word = match(text, "[%a_][%w_%.:]*$") or ""
    local path, part = match(word, "^(.-)([%w_]*)$")
    local container = globals
    for name in gmatch(path, "[%w_]+") do
        container = type(container) == "table" and rawget(container, name)
    end
    local names = {}
    local function take(t)
        if type(t) ~= "table" then return end
        for name in pairs(t) do if is_word(name) then names[#names + 1] = name end end
    end
    take(container)
    local meta = path ~= "" and type(container) == "table" and getmetatable(container)
    if type(meta) == "table" then take(rawget(meta, "__index")) end
    return { from = at - #part, names = beginning(names, part) }
end

-- What of the session another process can take over: variables that are plain data.

local own = {}
for name in pairs(globals) do own[name] = true end

local function is_plain(value, depth)
    local kind = type(value)
    if kind == "string" then return utf8_len(value) ~= nil end
    if kind == "number" or kind == "boolean" then return true end
    if kind ~= "table" or depth <= 0 or getmetatable(value) then return false end
    local whole = is_list(value)
    for key, inner in pairs(value) do
        if not (whole or type(key) == "string") or not is_plain(inner, depth - 1) then return false end
    end
    return true
end

local function keep()
    local kept, lost = {}, {}
    for name, value in pairs(globals) do
        if not own[name] and type(name) == "string" then
            if is_plain(value, 8) then kept[name] = value else lost[#lost + 1] = name end
        end
    end
    sort(lost)
    return json_encode(kept), lost
end

local function restore(kept)
    local values = json_decode(kept)
    for name, value in pairs(values) do
        if not own[name] then globals[name] = value end
    end
end

return { run = run, more = more, complete = complete, keep = keep, restore = restore }
