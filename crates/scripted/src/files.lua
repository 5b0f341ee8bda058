-- `files`: what a script reads of the trees that it was given. A tree is known by its name; without
-- one the first is meant.

return function(host, setmetatable)
    local File = {}
    File.__index = File

    -- The next bytes, at most n; nil at the end.
    function File:read(n) return host.piece(self.number, n) end

    function File:close() host.close(self.number) end

    local function open(path, tree)
        local number, size = host.open(path, tree)
        if number then return setmetatable({ number = number, size = size }, File) end
    end

    return { read = host.read, list = host.list, stat = host.stat, open = open }
end
