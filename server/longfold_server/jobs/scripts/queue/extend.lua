-- ARGV: place, ms. The lease lasts so long from now. A place that was given up meanwhile stays given up.
redis.call('ZADD', LEASES, 'XX', text(now_ms() + tonumber(ARGV[2])), ARGV[1])
