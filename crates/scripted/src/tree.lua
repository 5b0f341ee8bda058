-- Has the script of a file tree make a file. What it makes piece by piece is gathered by the host.

return function(host)
    local function read(make, token, path)
        local content, about = make(path)
        if type(content) ~= "function" then return content, about end
        for piece in content do host.piece(token, piece) end
        return true, about
    end

    return { read = read }
end
