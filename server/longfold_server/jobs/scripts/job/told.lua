-- ARGV: what became of the webhook. Only a webhook that is owed changes; a job whose retention ended stays away.
if owed() == 1 then redis.call('HSET', JOB, 'outbox', ARGV[1]) end
