#!/bin/sh
# In a crontab:   */15 * * * * VOYAGE_API_KEY_FILE=$HOME/.voyage-key $HOME/docs/cron.sh $HOME/docs/voyage-jobs.toml
# cron mails what a job prints, so this prints nothing but what you must act on.
set -u
config=${1:?name the configuration}
voyage-jobs --config "$config" sync --no-wait --quiet 2>>"${LOG:-/dev/null}"
case $? in
  0 | 3 | 4) ;;       # done; jobs are in flight, or texts failed (`status` names them); another call is at it
  *) voyage-jobs --config "$config" status ;;
esac
