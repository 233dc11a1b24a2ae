-- ARGV: token, expected generation ('' for any), status, field, value, retention ms, progress ('' for none).
-- Returns {'ok', webhook owed}, {'cancel'} or {'lost'}. A cancelled job cannot complete or fail any more.
local held = redis.call('HMGET', JOB, 'token', 'gen', 'cancel', 'ended_by', 'status')
if held[4] == ARGV[1] and held[5] == ARGV[3] then return {'ok', owed()} end
if held[1] ~= ARGV[1] then return {'lost'} end
if ARGV[2] ~= '' and held[2] ~= ARGV[2] then return {'lost'} end
if held[3] and ARGV[3] ~= 'cancelled' then return {'cancel'} end
if ARGV[7] ~= '' then redis.call('HSET', JOB, 'progress', ARGV[7]) end
finish(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[1])
return {'ok', owed()}
