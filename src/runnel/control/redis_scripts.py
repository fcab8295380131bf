"""The Lua of what instances count together. Each script is one step; the time is Redis' own.

Keys begin with `{prefix}:`, so that all of them are in one place of a cluster.
"""

from typing import Final

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_FORGET_GONE: Final = """
local gone
repeat
    gone = redis.call('ZRANGEBYSCORE', until_, '-inf', now, 'LIMIT', 0, 1000)
    if #gone > 0 then
        redis.call('ZREM', ids, unpack(gone))
        redis.call('ZREM', until_, unpack(gone))
        redis.call('HDEL', told, unpack(gone))
    end
until #gone == 0
"""

#: KEYS: ids, until, told, the user's. ARGV: id, told, milliseconds, most. 1 if it is in.
ENTER: Final = f"""{_NOW}
local ids, until_, told, own = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('ZREMRANGEBYSCORE', own, '-inf', now)
if redis.call('ZCARD', own) >= tonumber(ARGV[4]) then
    return 0
end
redis.call('ZADD', own, now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', own, ARGV[3])
redis.call('ZADD', ids, 0, ARGV[1])
redis.call('ZADD', until_, now + ARGV[3], ARGV[1])
redis.call('HSET', told, ARGV[1], ARGV[2])
return 1
"""

#: KEYS: ids, until, told, then the user's of each. ARGV: milliseconds, then id and told of each.
RENEW: Final = f"""{_NOW}
local ids, until_, told = KEYS[1], KEYS[2], KEYS[3]
{_FORGET_GONE}
for number = 4, #KEYS do
    local id = ARGV[2 * number - 6]
    redis.call('ZADD', KEYS[number], now + ARGV[1], id)
    redis.call('PEXPIRE', KEYS[number], ARGV[1])
    redis.call('ZADD', ids, 0, id)
    redis.call('ZADD', until_, now + ARGV[1], id)
    redis.call('HSET', told, id, ARGV[2 * number - 5])
end
return 1
"""

#: KEYS: ids, until, told. ARGV: where the page begins, how many. What is told of each.
PAGE: Final = f"""{_NOW}
local ids, until_, told = KEYS[1], KEYS[2], KEYS[3]
{_FORGET_GONE}
local page = redis.call('ZRANGEBYLEX', ids, ARGV[1], '+', 'LIMIT', 0, ARGV[2])
if #page == 0 then
    return {{}}
end
return redis.call('HMGET', told, unpack(page))
"""

#: KEYS: since, the ticket's. ARGV: when it was issued (seconds), seconds. 1 for its first use.
#: What was issued before Redis began to remember counts as used: it may have been emptied.
SPEND: Final = """
redis.call('SET', KEYS[1], redis.call('TIME')[1], 'NX')
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1])) then
    return 0
end
return redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[2]) and 1 or 0
"""

#: KEYS: since.
REMEMBER: Final = "return redis.call('SET', KEYS[1], redis.call('TIME')[1], 'NX') and 1 or 0"

#: KEYS: a generation's readers. ARGV: instance, for how many milliseconds it has some, for how many
#: that is kept, and how far ahead only those stand whom a server has sent away: who comes, or goes
#: by itself, makes up for them.
READERS_THERE: Final = f"""{_NOW}
if tonumber(ARGV[2]) < tonumber(ARGV[4]) then
    local told = redis.call('HGETALL', KEYS[1])
    for index = 1, #told, 2 do
        if tonumber(told[index + 1]) > now + ARGV[4] then
            redis.call('HDEL', KEYS[1], told[index])
        end
    end
end
redis.call('HSET', KEYS[1], ARGV[1], now + ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
"""

#: KEYS: the readers of generations. Of each for how many milliseconds it has some; nil if nobody
#: has told of any.
READERS_LEFT: Final = f"""{_NOW}
local answer = {{}}
for index, key in ipairs(KEYS) do
    local latest = false
    for _, until_ in ipairs(redis.call('HVALS', key)) do
        latest = math.max(latest or tonumber(until_), tonumber(until_))
    end
    answer[index] = latest and latest - now
end
return answer
"""

#: KEYS: a window of the limits, as limits keeps it: moments, the latest first. ARGV: now, by the
#: clock of who asks, the limit, its seconds. Whether a place was taken, how many are then, and since
#: when the first of them (nothing where none is): limits' own two scripts in one.
HIT: Final = """
local key, now, limit, seconds = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = redis.call('LINDEX', key, limit - 1)
local full = last and tonumber(last) >= now - seconds
if not full then
    redis.call('LPUSH', key, ARGV[1])
    redis.call('LTRIM', key, 0, limit - 1)
    redis.call('EXPIRE', key, seconds)
end
local count, beyond = 0, redis.call('LLEN', key)
while count < beyond do
    local middle = math.floor((count + beyond) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) > now - seconds then
        count = middle + 1
    else
        beyond = middle
    end
end
return {full and 0 or 1, count, count > 0 and redis.call('LINDEX', key, count - 1)}
"""
