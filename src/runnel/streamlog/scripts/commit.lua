-- A group of steps on logs, each of them whole or not at all.
--
-- KEYS: bytes, sizes, expires, finished; then the log and the meta of each step.
-- ARGV: milliseconds that a running log is kept, and a finished one; the steps as JSON, nine values of
-- each: what is done, the generation, fence, nonce, epoch, offset before, offset after, whether it
-- ends, the entry.
-- Answers what all logs weigh, then of each step: 0 done, 1 missing, 2 conflict, 3 stale.
--
-- A step whose nonce is the last one's is that very step, of which the answer was lost: it is done.

-- First of all, since it is refused where there is no memory: nothing is done by halves.
local total = redis.call('INCRBY', KEYS[1], 0)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local DONE, MISSING, CONFLICT, STALE = 0, 1, 2, 3
local grown = 0

local function forget(log, meta, id)
  redis.call('UNLINK', log, meta)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
  local size = redis.call('HGET', KEYS[2], id)
  if size then
    redis.call('HDEL', KEYS[2], id)
    grown = grown - size
  end
end

local function keep(log, meta, id, milliseconds)
  redis.call('PEXPIRE', log, milliseconds)
  redis.call('PEXPIRE', meta, milliseconds)
  redis.call('ZADD', KEYS[3], now + milliseconds, id)
end

local function weigh(id, entry)
  local size = #entry + 64
  redis.call('HINCRBY', KEYS[2], id, size)
  grown = grown + size
end

local function finish(log, meta, id)
  redis.call('HSET', meta, 'closed', '1')
  redis.call('ZADD', KEYS[4], now, id)
  keep(log, meta, id, ARGV[2])
end

local function begin(log, meta, known, id, fence, nonce, epoch, _, last, ends, entry)
  if known[1] and redis.call('EXISTS', log) == 1 then
    if fence < tonumber(known[3]) then return STALE end
    if epoch <= tonumber(known[1]) then return CONFLICT end
  end
  forget(log, meta, id)
  redis.call('XADD', log, epoch .. '-' .. last, 'e', entry)
  redis.call('HSET', meta, 'epoch', epoch, 'last', last, 'fence', fence, 'closed', '0', 'nonce', nonce)
  weigh(id, entry)
  keep(log, meta, id, ARGV[1])
  if ends then finish(log, meta, id) end
  return DONE
end

local function append(log, meta, known, id, fence, nonce, epoch, after, last, ends, entry)
  if not known[1] then return MISSING end
  if fence < tonumber(known[3]) then return STALE end
  if tonumber(known[1]) ~= epoch then return MISSING end
  if known[4] == '1' or tonumber(known[2]) ~= after then return CONFLICT end
  if not redis.call('XADD', log, 'NOMKSTREAM', epoch .. '-' .. last, 'e', entry) then
    return MISSING
  end
  redis.call('HSET', meta, 'last', last, 'fence', fence, 'nonce', nonce)
  weigh(id, entry)
  if ends then finish(log, meta, id) end
  return DONE
end

local function drop(log, meta, _, id)
  forget(log, meta, id)
  return DONE
end

local do_step = { begin = begin, append = append, drop = drop }
local answer = { 0 }
for index, step in ipairs(cjson.decode(ARGV[3])) do
  local log, meta = KEYS[2 * index + 3], KEYS[2 * index + 4]
  local known = redis.call('HMGET', meta, 'epoch', 'last', 'fence', 'closed', 'nonce')
  if known[5] == step[4] then
    answer[index + 1] = DONE
  else
    answer[index + 1] = do_step[step[1]](log, meta, known, unpack(step, 2))
  end
end
if grown ~= 0 then total = redis.call('INCRBY', KEYS[1], grown) end
answer[1] = total
return answer
