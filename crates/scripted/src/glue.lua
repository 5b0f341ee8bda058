-- What a handler of requests sees: a request with fields and methods. And what it may answer: a
-- body; a status and a body; a status, fields and a body. A body is a string, a function that gives
-- one piece after another and nil at the end, or a table that names a file of a tree.

return function(host, setmetatable)
    local Request = {}
    Request.__index = Request

    -- The value of the first field of this name, or nil.
    function Request:field(name) return host.field(self.head, name) end

    -- The next piece of the body; nil at its end.
    function Request:read() return host.read(self.token) end

    -- The whole body, of at most so many bytes.
    function Request:body(limit)
        limit = limit or 65536
        local pieces, n, bytes = {}, 0, 0
        while true do
            local piece = self:read()
            if not piece then return table.concat(pieces) end
            n, bytes = n + 1, bytes + #piece
            if bytes > limit then error("the body is longer than " .. limit .. " bytes", 2) end
            pieces[n] = piece
        end
    end

    local function stream(token, status, fields, body)
        host.begin(token, status, fields)
        for piece in body do
            host.write(token, piece)
        end
        host.finish(token)
    end

    local function answer(token, status, fields, body)
        if body == nil then
            local kind = type(status)
            if kind == "string" then return 200, status end
            if kind ~= "number" then status, fields, body = 200, nil, status
            elseif type(fields) ~= "table" then fields, body = nil, fields end
        end
        if status == 200 and body == nil and fields == nil then status, body = 404, "not found\n" end
        if type(body) == "function" then return stream(token, status, fields, body) end
        return status, body, fields
    end

    local function serve(handler, token, method, path, query, head, peer)
        local request = setmetatable({
            method = method, path = path, query = query, head = head, peer = peer, token = token,
        }, Request)
        return answer(token, handler(request))
    end

    local Answer = {}
    Answer.__index = Answer

    -- The value of the field of this name, several joined by commas, or nil.
    function Answer:field(name) return self.headers[name:lower()] end

    local function request(options)
        if type(options) == "string" then options = { url = options } end
        local status, headers, body = host.request(options)
        return setmetatable({ status = status, headers = headers, body = body }, Answer)
    end

    return { serve = serve, request = request, get = request }
end
