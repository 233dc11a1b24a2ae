-- ARGV: job, token, expected generation ('' for any), status, field, value, retention ms, progress ('' for none).
-- Returns {'ok'}, {'cancel'} or {'lost'}. A cancelled job cannot complete or fail any more.
local held = redis.call('HMGET', KEYS[1], 'token', 'gen', 'cancel')
if ARGV[2] == '' or held[1] ~= ARGV[2] then return {'lost'} end
if ARGV[3] ~= '' and held[2] ~= ARGV[3] then return {'lost'} end
if held[3] and ARGV[4] ~= 'cancelled' then return {'cancel'} end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'progress', ARGV[8]) end
finish(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
return {'ok'}
