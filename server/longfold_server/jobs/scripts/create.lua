-- ARGV: job, body hash, wake channel, event data, then pairs of fields of the job hash.
-- Returns 1 made, 0 the same request made it before, -1 another request did.
local known = redis.call('HGET', KEYS[1], 'body')
if known then
  if known == ARGV[2] then return 0 end
  return -1
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'status', 'queued', 'created', text(now), 'token', '',
  'gen', 0, 'seq', 0, 'takeovers', 0, 'failures', 0, 'stalls', 0, unpack(ARGV, 5))
redis.call('ZADD', KEYS[3], text(now), ARGV[1])
emit(KEYS[1], KEYS[2], 'created', ARGV[4])
redis.call('PUBLISH', ARGV[3], 'ready')
return 1
