-- An extension: `cargo run --example scripted -- 127.0.0.1:7010 examples/hello.lua`, then
-- `curl http://127.0.0.1:7010/lua/hello/Medusa`. The file may be changed while it runs; POST
-- /reload takes the new version, or says what is wrong with it and keeps the old one.

local visits = {}

local function count(name)
    visits[name] = (visits[name] or 0) + 1
    return visits[name]
end

local pages = {}

function pages.hello(_, name)
    return "hello " .. name
end

function pages.visits(_, name)
    return 200, { ["Content-Type"] = "application/json" },
        json.encode({ name = name, visits = count(name) })
end

-- One line a second, as long as the client listens.
function pages.countdown(_, from)
    local n = (tonumber(from) or 3) + 1
    return 200, function()
        n = n - 1
        if n < 0 then return nil end
        sleep(1)
        return n .. "\n"
    end
end

-- The body comes piece by piece, and is never held as a whole.
function pages.length(request)
    local bytes = 0
    for piece in request.read, request do bytes = bytes + #piece end
    return bytes .. "\n"
end

return function(request)
    local page, rest = request.path:match("^/lua/(%a+)/?(.*)$")
    local handler = pages[page]
    if not handler then return 404, "there is no such page\n" end
    return handler(request, rest)
end
