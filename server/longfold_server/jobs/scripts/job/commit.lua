-- ARGV: token, expected generation, next generation, commit's own id, event kind, event data, then pairs of fields.
-- Returns {'ok', seq}, {'cancel'} or {'lost'}.
local held = redis.call('HMGET', JOB, 'token', 'gen', 'last', 'cancel', 'seq')
if held[1] ~= ARGV[1] then return {'lost'} end
if held[3] == ARGV[4] then return {'ok', tonumber(held[5])} end
if held[2] ~= ARGV[2] then return {'lost'} end
if held[4] then return {'cancel'} end
redis.call('HSET', JOB, 'gen', ARGV[3], 'last', ARGV[4], unpack(ARGV, 7))
return {'ok', emit(ARGV[5], ARGV[6])}
