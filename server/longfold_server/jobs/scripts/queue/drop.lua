-- ARGV: job. Its webhook is not owed any more.
redis.call('ZREM', OUTBOX, ARGV[1])
redis.call('HDEL', ATTEMPTS, ARGV[1])
