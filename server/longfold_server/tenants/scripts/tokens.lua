-- KEYS: 1 hash of a tenant: day (since 1970, UTC), spent. ARGV: tokens to add; 0 only looks.
-- Returns {tokens spent today, seconds until the day ends}.
local now = tonumber(redis.call('TIME')[1])
local day = math.floor(now / 86400)
local held = redis.call('HMGET', KEYS[1], 'day', 'spent')
local spent = tonumber(held[1]) == day and tonumber(held[2]) or 0
local added = tonumber(ARGV[1])
if added > 0 then
  spent = spent + added
  redis.call('HSET', KEYS[1], 'day', day, 'spent', string.format('%.0f', spent))
  redis.call('EXPIRE', KEYS[1], 172800)
end
return {spent, (day + 1) * 86400 - now}
