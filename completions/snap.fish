# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_snap_global_optspecs
    string join \n profile= config= h/help V/version
end

function __fish_snap_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_snap_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_snap_using_subcommand
    set -l cmd (__fish_snap_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c snap -n "__fish_snap_needs_command" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_needs_command" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_needs_command" -s V -l version -d 'Print version'
complete -c snap -n "__fish_snap_needs_command" -f -a "backup" -d 'Back up a running influxd, or the directories of a stopped one'
complete -c snap -n "__fish_snap_needs_command" -f -a "restore" -d 'Restore into a stopped influxd, or with -online into a running one'
complete -c snap -n "__fish_snap_needs_command" -f -a "serve" -d 'Serve a stopped influxd\'s directories over the snapshotter protocol'
complete -c snap -n "__fish_snap_needs_command" -f -a "list" -d 'List the sets in a backup directory, oldest first'
complete -c snap -n "__fish_snap_needs_command" -f -a "info" -d 'Show what a set holds, or with -host what a server holds'
complete -c snap -n "__fish_snap_needs_command" -f -a "verify" -d 'Read sets from end to end and report damage'
complete -c snap -n "__fish_snap_needs_command" -f -a "check" -d 'Check that the newest set is new enough and complete, for monitoring'
complete -c snap -n "__fish_snap_needs_command" -f -a "forget" -d 'Remove the sets that a retention policy does not keep'
complete -c snap -n "__fish_snap_needs_command" -f -a "keep" -d 'Mark a set so that forget never removes it'
complete -c snap -n "__fish_snap_needs_command" -f -a "generate" -d 'Print completions, manual pages or an example configuration'
complete -c snap -n "__fish_snap_using_subcommand backup" -l host -d 'Where influxd\'s snapshotter listens' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l metadir -d 'Of a stopped influxd, its meta directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l datadir -d 'And its data directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l waldir -d 'Its WAL directory [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l ignore-wal -d 'Leave out what only the WAL holds' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l database -l db -d 'Only this database' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l retention -l rp -d 'Only this retention policy of -database' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l shard -d 'Only this shard' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l include-internal -d 'Back up _internal too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l meta-only -d 'Only the metastore, no shards' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l since -d 'Only files changed since T, or since the last set' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l start -d 'Only points from T on, as 2026-11-20 or 24h (ago)' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l end -l stop -d 'Only points up to T' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l coarse -d 'With -start and -end, keep blocks whole' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l incremental -d 'Download only shards that have changed' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l full -d 'With -incremental, download all shards this once' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l full-every -d 'With -incremental, all shards in every Nth set' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l cold-after -d 'How long a shard must be unchanged to be shared' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l portable -d 'Write influxd\'s portable layout, compressed' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l apply-deletes -d 'Leave out points that were deleted but not yet compacted away' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l flush-timeout -d 'How long to wait for a shard that is being flushed' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l skip-errors -d 'If shards fail, make a partial set; exit code 3' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l resume -d 'Take over what a failed run had finished' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l dry-run -d 'Print what would be downloaded; download nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l retry-lock -d 'How long to wait for another run in PATH to end' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l dialect -d 'The protocol: of servers 1.0 to 1.4, or of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l idle-timeout -d 'How long to wait for the next byte' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l retries -d 'How often to try a failed shard again' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l limit-rate -d 'Bytes per second at the most, as 20MiB' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l metrics-file -d 'Write metrics of the run to this file' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l on-start -d 'Run this with sh before the run' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l on-success -d 'Run this with sh if all went well' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l on-failure -d 'Run this with sh if anything failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l hook-timeout -d 'Stop each of these commands after this time' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand restore" -l metadir -d 'Restore the metastore into this directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l datadir -d 'Restore shards into this directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l waldir -d 'The WAL directory [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l online -d 'Restore into the running server at -host' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l portable -d 'As -online, for scripts that call influxd' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l host -d 'The snapshotter of the running server' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l database -l db -d 'Only this database' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l retention -l rp -d 'Only this retention policy of -database' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l shard -d 'Only this shard' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l newdb -d 'Give the database this name' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l newrp -d 'Give the retention policy this name' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l start -d 'Only points from T on, as 2026-11-20 or 24h (ago)' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l end -l stop -d 'Only points up to T' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l force -d 'Replace the metastore and shards of the target' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l merge -d 'Add the databases to the target\'s metastore' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l index -d 'The index of the restored shards' -r -f -a "auto\t''
inmem\t''
tsi1\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l apply-deletes -d 'Leave out points that were deleted but not yet compacted away [default: on]' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l no-verify -d 'With -online, do not read back what was sent' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l resume -d 'With -online, go on with an interrupted restore' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l dry-run -d 'Print what would be written; write nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l dialect -d 'The protocol: of servers 1.0 to 1.4, or of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l idle-timeout -d 'How long to wait for the next byte' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l retries -d 'How often to try a failed shard again' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l limit-rate -d 'Bytes per second at the most, as 20MiB' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l metrics-file -d 'Write metrics of the run to this file' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l on-start -d 'Run this with sh before the run' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l on-success -d 'Run this with sh if all went well' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l on-failure -d 'Run this with sh if anything failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l hook-timeout -d 'Stop each of these commands after this time' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand serve" -l metadir -d 'The meta directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l datadir -d 'The data directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l waldir -d 'The WAL directory [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l ignore-wal -d 'Leave out what only the WAL holds' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l bind -d 'The address to listen on' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l dialect -d 'The dialects to answer in' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l writable -d 'Accept restores, which change the directories' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l connections -d 'How many connections to serve at a time' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l grace -d 'How long to wait at the end for requests under way' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand list" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand list" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand info" -l host -d 'Ask the snapshotter at this address instead' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l dialect -d 'The protocol: of servers 1.0 to 1.4, or of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l idle-timeout -d 'How long to wait for the next byte' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l retries -d 'How often to try a failed shard again' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l limit-rate -d 'Bytes per second at the most, as 20MiB' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand verify" -l deep -d 'Unpack every block of every TSM file' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l jobs -d 'How many files to read at a time' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l metrics-file -d 'Write metrics of the run to this file' -r -F
complete -c snap -n "__fish_snap_using_subcommand verify" -l on-start -d 'Run this with sh before the run' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l on-success -d 'Run this with sh if all went well' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l on-failure -d 'Run this with sh if anything failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l hook-timeout -d 'Stop each of these commands after this time' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand check" -l max-age -d 'How old the set may be, as 26h' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l database -l db -d 'Only sets that hold this database' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l max-lost-shards -d 'How many shards may be gone, in percent' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l allow-empty -d 'Accept a set without shards after one with some' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l metrics-file -d 'Write metrics of the run to this file' -r -F
complete -c snap -n "__fish_snap_using_subcommand check" -l on-start -d 'Run this with sh before the run' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l on-success -d 'Run this with sh if all went well' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l on-failure -d 'Run this with sh if anything failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l hook-timeout -d 'Stop each of these commands after this time' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-last -d 'Keep the N newest sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-hourly -d 'Keep the newest set of each of the last N hours' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-daily -d 'Keep the newest set of each of the last N days' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-weekly -d 'Keep the newest set of each of the last N weeks' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-monthly -d 'Keep the newest set of each of the last N months' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-yearly -d 'Keep the newest set of each of the last N years' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-within -d 'Keep all sets of the last D, as 7d or 1y5m' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l timezone -d 'Where days begin, as Europe/Berlin [default: UTC]' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l lost -d 'Remove the sets of which no file is left' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l dry-run -d 'Print what would be removed; remove nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l retry-lock -d 'How long to wait for another run in PATH to end' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l metrics-file -d 'Write metrics of the run to this file' -r -F
complete -c snap -n "__fish_snap_using_subcommand forget" -l on-start -d 'Run this with sh before the run' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l on-success -d 'Run this with sh if all went well' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l on-failure -d 'Run this with sh if anything failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l hook-timeout -d 'Stop each of these commands after this time' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand keep" -l release -d 'Take the mark off' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l retry-lock -d 'How long to wait for another run in PATH to end' -r
complete -c snap -n "__fish_snap_using_subcommand keep" -l quiet -d 'Print warnings and errors only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l summary -d 'Print warnings, errors and the result only, no progress' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l verbose -d 'Print requests, retries and times too' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l json -d 'Print JSON lines on standard output' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand keep" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand generate" -l dir -d 'With man, write all pages into this directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand generate" -l profile -d 'Take flags from this profile of the configuration' -r
complete -c snap -n "__fish_snap_using_subcommand generate" -l config -d 'The configuration, or "" for none' -r -F
complete -c snap -n "__fish_snap_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
