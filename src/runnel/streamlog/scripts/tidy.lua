#!lua flags=allow-oom
-- Lets logs go whose time is over, and if there are too many the oldest that have ended.
--
-- KEYS: bytes, sizes, expires, finished. ARGV: what all logs may weigh, what a log's and a meta's
-- key begin with, how many may go at once.
-- Answers what all logs weigh then, and whose have gone.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most = tonumber(ARGV[4])
local total = tonumber(redis.call('GET', KEYS[1]) or 0)
local gone = {}

local function forget(id)
  redis.call('UNLINK', ARGV[2] .. id, ARGV[3] .. id)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
  local size = redis.call('HGET', KEYS[2], id)
  if size then
    redis.call('HDEL', KEYS[2], id)
    redis.call('DECRBY', KEYS[1], size)
    total = total - size
  end
  gone[#gone + 1] = id
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, most)) do
  forget(id)
end
while total > tonumber(ARGV[1]) and #gone < most do
  local oldest = redis.call('ZRANGE', KEYS[4], 0, 0)
  if not oldest[1] then break end
  forget(oldest[1])
end
return { total, gone }
