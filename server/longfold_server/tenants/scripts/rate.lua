-- KEYS: 1 list of the moments (microseconds) of a key's requests, newest first. ARGV: most requests, window in seconds.
-- Counts one request when there is room for it. Returns {1 or 0, requests left, microseconds until the next one frees its
-- place}. Time is Redis's own, never a replica's, so that the window is the same for all of them.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local most, window = tonumber(ARGV[1]), ARGV[2] * 1000000
while true do
  local oldest = redis.call('LINDEX', KEYS[1], -1)
  if not oldest or tonumber(oldest) > now - window then break end
  redis.call('RPOP', KEYS[1])
end
local used = redis.call('LLEN', KEYS[1])
local admitted = used < most
if admitted then
  redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], window / 1000)
  used = used + 1
end
-- After the limit was lowered there may be more than `most`: a place is free when the one at that number has gone.
local next_free = tonumber(redis.call('LINDEX', KEYS[1], admitted and -1 or most - 1))
return {admitted and 1 or 0, math.max(0, most - used), next_free + window - now}
