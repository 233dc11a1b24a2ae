-- ARGV: job, attempts before the one that failed, ms until the next. A later attempt's own word counts.
if tonumber(redis.call('HGET', ATTEMPTS, ARGV[1]) or 0) == tonumber(ARGV[2]) + 1 then
  redis.call('ZADD', OUTBOX, 'XX', text(now_ms() + tonumber(ARGV[3])), ARGV[1])
end
