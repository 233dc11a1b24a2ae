-- ARGV: place, pause ms, wake channel. The job at this place can be claimed, now or after the pause.
local place, now, pause = ARGV[1], now_ms(), tonumber(ARGV[2])
redis.call('ZADD', OPEN, 0, tenant_of(place) .. '/' .. job_of(place))
if pause > 0 then
  redis.call('ZADD', LATER, text(now + pause), place)
  unready(place)
else
  make_ready(place, now)
end
unlease(place)
redis.call('PUBLISH', ARGV[3], 'ready')
