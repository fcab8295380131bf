-- What stands behind a cursor, and where the log ends, in one look.
--
-- KEYS: log, meta. ARGV: the cursor's epoch and offset, both empty for the beginning; the epoch in
-- which the reader stands, empty if it has not found its place; how many bytes a page has, about.
-- Answers nothing if there is no log; else its epoch, its last offset, whether it has ended, whether
-- the cursor is somewhere in it, and a page of entries.

local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'closed')
if not known[1] or redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local epoch, last = known[1], known[2]
local closed = known[3] == '1' and 1 or 0
local from
if ARGV[1] == '' or (ARGV[3] ~= '' and tonumber(ARGV[3]) < tonumber(epoch)) then
  from = '-'
elseif ARGV[1] == epoch and tonumber(ARGV[2]) <= tonumber(last) then
  from = '(' .. ARGV[1] .. '-' .. ARGV[2]
else
  return { epoch, last, closed, 0, {} }
end

local AT_ONCE = 64
local most, bytes, page = tonumber(ARGV[4]), 0, {}
repeat
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', AT_ONCE)
  for _, entry in ipairs(some) do
    if bytes >= most then break end
    bytes = bytes + #entry[2][2] + 264
    page[#page + 1] = { entry[1], entry[2][2] }
    from = '(' .. entry[1]
  end
until bytes >= most or #some < AT_ONCE
return { epoch, last, closed, 1, page }
