-- Shuts out older owners of a log, and says where it ends.
--
-- KEYS: log, meta, expires. ARGV: the generation, fence, milliseconds that a running log is kept.
-- Answers nothing if there is no log; whether the fence is older than its; then its epoch, its last
-- offset and whether it has ended.

local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'fence', 'closed')
if not known[1] or redis.call('EXISTS', KEYS[1]) == 0 then return {} end
if tonumber(ARGV[2]) < tonumber(known[3]) then return { 1 } end
redis.call('HSET', KEYS[2], 'fence', ARGV[2])
if known[4] ~= '1' then
  local clock = redis.call('TIME')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('ZADD', KEYS[3], clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[3], ARGV[1])
end
return { 0, known[1], known[2], known[4] == '1' and 1 or 0 }
