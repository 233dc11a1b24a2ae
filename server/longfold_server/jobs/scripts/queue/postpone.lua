-- ARGV: job, attempts before the one that was not made, ms until the next. As if it had not been taken.
if tonumber(redis.call('HGET', ATTEMPTS, ARGV[1]) or 0) == tonumber(ARGV[2]) + 1 then
  redis.call('HINCRBY', ATTEMPTS, ARGV[1], -1)
  redis.call('ZADD', OUTBOX, 'XX', text(now_ms() + tonumber(ARGV[3])), ARGV[1])
end
