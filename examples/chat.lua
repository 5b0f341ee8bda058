-- A chat: one room, in which everybody hears everybody. In a configuration:
--
--     [[server]]
--     protocol = "script"
--     listen = "127.0.0.1:7008"
--     file = "chat.lua"
--
-- Then `nc 127.0.0.1 7008` in several windows. /nick NAME, /me WAVES, /names and /quit do what they
-- say. Nobody waits for a slow reader: lines that he does not take are lost to him.

local names = {} -- connection -> name

local function tell_all(line)
    for client in pairs(names) do client:send(line .. "\n") end
end

local function is_free(name)
    if not name:find("^[%w_-]+$") or #name > 20 or name:find("^guest") then return false end
    for _, other in pairs(names) do
        if other:lower() == name:lower() then return false end
    end
    return true
end

local commands = {}

function commands.me(client, does) tell_all("* " .. names[client] .. " " .. does) end

function commands.names(client)
    local all = {}
    for _, name in pairs(names) do all[#all + 1] = name end
    table.sort(all)
    client:send("* here: " .. table.concat(all, ", ") .. "\n")
end

function commands.nick(client, name)
    if not is_free(name) then return client:send("* " .. name .. " is taken, or no name\n") end
    tell_all("* " .. names[client] .. " is now " .. name)
    names[client] = name
end

return function(client)
    names[client] = "guest" .. client.number
    tell_all("* " .. names[client] .. " joins")
    for line in client:lines(400) do
        line = line:gsub("%c", "")
        local word, rest = line:match("^/(%a+) ?(.*)$")
        if word == "quit" then break end
        if commands[word] then commands[word](client, rest)
        elseif word then client:send("* /" .. word .. ": what?\n")
        elseif line ~= "" then tell_all("<" .. names[client] .. "> " .. line) end
    end
    local name = names[client]
    names[client] = nil
    tell_all("* " .. name .. " leaves")
end
