-- ARGV: job, token, wake channel, retention ms, failure ('1' counts one), most failures, error of a poisoned job, pause ms.
-- Gives the job back: to the front of the queue, or after a pause when it failed. Returns 'released', 'failed', 'cancelled' or 'lost'.
if ARGV[2] == '' or redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 'lost' end
if redis.call('HGET', KEYS[1], 'cancel') then
  finish(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], 'cancelled', '', '', ARGV[4])
  return 'cancelled'
end
local ready = tonumber(redis.call('HGET', KEYS[1], 'created'))
if ARGV[5] == '1' then
  if redis.call('HINCRBY', KEYS[1], 'failures', 1) >= tonumber(ARGV[6]) then
    finish(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], 'failed', 'error', ARGV[7], ARGV[4])
    return 'failed'
  end
  ready = now_ms() + tonumber(ARGV[8])
end
redis.call('HSET', KEYS[1], 'status', 'queued', 'token', '')
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[3], text(ready), ARGV[1])
redis.call('PUBLISH', ARGV[3], 'ready')
return 'released'
