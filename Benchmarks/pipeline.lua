-- A script for wrk: sixteen requests in one write.
local depth = 16

function init()
   local one = wrk.format("GET")
   many = string.rep(one, depth)
end

function request()
   return many
end
