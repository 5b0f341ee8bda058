-- Connections as scripts see them: those that they make, and those that a server of theirs accepts.

return function(host, setmetatable)
    local Connection = {}
    Connection.__index = Connection

    -- The next line, without its end; nil when the peer has ended.
    function Connection:line(limit) return host.line(self.token, limit) end

    -- All lines, one after the other.
    function Connection:lines(limit)
        return function() return host.line(self.token, limit) end
    end

    -- Just so many bytes, fewer only at the end; without a number, whatever comes next.
    function Connection:read(bytes) return host.read(self.token, bytes) end

    -- Waits until the peer has room for it.
    function Connection:write(text) host.write(self.token, text) end

    -- Never waits: true; false if the peer takes what it gets too slowly; nil if it has gone.
    function Connection:send(text) return host.send(self.token, text) end

    -- Ends the connection when all that was written has been sent.
    function Connection:close() host.close(self.token) end

    local function made(token, peer)
        return setmetatable({ token = token, number = token, peer = peer }, Connection)
    end

    return {
        connect = function(address, within) return made(host.connect(address, within)) end,
        serve = function(handler, token, peer) handler(made(token, peer)) end,
    }
end
