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

complete -c snap -n "__fish_snap_needs_command" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_needs_command" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_needs_command" -s V -l version -d 'Print version'
complete -c snap -n "__fish_snap_needs_command" -f -a "backup" -d 'Download the metastore and the shards of a running influxd into a backup directory'
complete -c snap -n "__fish_snap_needs_command" -f -a "restore" -d 'Put a backup back: into the directories of a stopped influxd, or with -online into a running one'
complete -c snap -n "__fish_snap_needs_command" -f -a "serve" -d 'Be the snapshotter service over the directories of a stopped influxd'
complete -c snap -n "__fish_snap_needs_command" -f -a "list" -d 'Show the sets in a backup directory, oldest first'
complete -c snap -n "__fish_snap_needs_command" -f -a "info" -d 'Show what one set holds, shard by shard; with -host, what a server holds'
complete -c snap -n "__fish_snap_needs_command" -f -a "verify" -d 'Read sets end to end and report damage'
complete -c snap -n "__fish_snap_needs_command" -f -a "check" -d 'Say whether the newest complete set is new enough and its files are there: for monitoring'
complete -c snap -n "__fish_snap_needs_command" -f -a "forget" -d 'Remove the sets that a retention policy does not keep'
complete -c snap -n "__fish_snap_needs_command" -f -a "keep" -d 'Keep a set: snap forget never removes it'
complete -c snap -n "__fish_snap_needs_command" -f -a "generate" -d 'Print shell completions or the manual page'
complete -c snap -n "__fish_snap_using_subcommand backup" -l host -d 'The snapshotter: host:port, or a host alone for port 8088' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l dialect -d 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l idle-timeout -d 'How long to wait for the next byte; influxd flushes a shard\'s cache before its first' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l retries -d 'How often to try again after a failure, shard by shard, each time from its beginning' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l limit-rate -d 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l metadir -d 'Back up a stopped influxd with this meta directory; -datadir is needed too, and -host is not asked' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l datadir -d 'Back up a stopped influxd with this data directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l waldir -d 'The WAL directory: what is in it is taken as TSM files [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l ignore-wal -d 'Leave out what is in the WAL only' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l database -l db -d 'Take this database alone' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l retention -l rp -d 'Take this retention policy alone' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l shard -d 'Take this shard alone' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l include-internal -d 'Take _internal too, where all databases are taken' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l meta-only -d 'Take the metastore and no shard' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l since -d 'Take the files that the server changed after T, or after the newest complete set was begun: an increment to it' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l start -d 'Take points from T on' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l end -l stop -d 'Take points up to T' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l coarse -d 'With -start and -end, leave blocks whole as the server sends them, with points before and after' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l incremental -d 'Download only shards that have changed since the newest complete set, and share the files of the others with it: each set is whole, and restored alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l full -d 'With -incremental, download all shards this once' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l full-every -d 'With -incremental, download all shards in every Nth set' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l cold-after -d 'With -incremental and -resume, download shards that changed less than D before the earlier run was begun; with -since last, begin so much earlier: more than the clocks of server and client may differ' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l portable -d 'Write influxd\'s portable layout: compressed tars and a manifest, for `influxd restore -portable`' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l apply-deletes -d 'Leave points out that the server has deleted and not compacted away yet, and the tombstones that say so: a live restore by influxd does not observe them. Of shards that are taken whole [default: true with -portable, else false]' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l flush-timeout -d 'How long to ask a server that is busy writing a shard to files, shard by shard; then the shard is stored as it comes, the set is marked as partial, and the exit code is 3' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l skip-errors -d 'Where shards fail, make a set of the others, marked as partial, and exit with 3' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l resume -d 'Take over the shards that an earlier run of the same kind had finished before it failed with -resume, or was killed, and that have not changed since; and keep those that this one finishes, should it fail' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l dry-run -d 'Say what would be downloaded, and download nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l retry-lock -d 'How long to wait for another run in the same directory to end' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l metrics-file -d 'Write how the run went into this file, for Prometheus\'s textfile collector' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -l on-success -d 'Run this with sh when all went well; exit code 1 where it fails' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l on-failure -d 'Run this with sh when something failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand backup" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand backup" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand restore" -l metadir -d 'Restore the metastore into this directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l datadir -d 'Restore shards into this directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l waldir -d 'The WAL directory, looked at for data of the shards that are restored [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l online -d 'Restore into the running server at -host, whatever the layout of the backup' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l portable -d 'The same as -online, for scripts of influxd\'s: the layout is found out. With -metadir and -datadir it says nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l host -d 'With -online, the server\'s snapshotter; else where an influxd that runs on the target would answer: it is asked first' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l database -l db -d 'Restore this database alone' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l retention -l rp -d 'Restore this retention policy alone' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l shard -d 'Restore this shard alone' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l newdb -d 'Give the database this name' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l newrp -d 'Give the retention policy this name' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l start -d 'Restore points from T on' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l end -l stop -d 'Restore points up to T' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l force -d 'Replace the metastore and the shards that the target holds' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l merge -d 'Add the databases to the target\'s metastore, with new shard and group ids' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l index -d 'The index of the restored shards: that of the target\'s other shards (auto), inmem, or tsi1, which influxd builds at its next start' -r -f -a "auto\t''
inmem\t''
tsi1\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l apply-deletes -d 'Leave out points that were deleted and not yet compacted away, so that they stay deleted on every version of influxd. With =false, files are restored as they are: into directories with the tombstones, with -online without them, so that the points come back' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l no-verify -d 'With -online, do not read shards back to compare them' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l resume -d 'With -online, go on with the interrupted restore from PATH into -host' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l dry-run -d 'Say what would be written, and write nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l dialect -d 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l idle-timeout -d 'How long to wait for the next byte; influxd flushes a shard\'s cache before its first' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l retries -d 'How often to try again after a failure, shard by shard, each time from its beginning' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l limit-rate -d 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l metrics-file -d 'Write how the run went into this file, for Prometheus\'s textfile collector' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -l on-success -d 'Run this with sh when all went well; exit code 1 where it fails' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l on-failure -d 'Run this with sh when something failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand restore" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand restore" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand serve" -l metadir -d 'The meta directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l datadir -d 'The data directory' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l waldir -d 'The WAL directory: what is in it is served as TSM files [default: wal beside -datadir]' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -l ignore-wal -d 'Serve shards without what is in their WAL' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l bind -d 'The address to listen on' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l dialect -d 'The dialects to answer in' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l writable -d 'Answer imports and uploads too, which change the directories' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l connections -d 'How many connections to serve at a time' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l grace -d 'How long to wait at the end for requests under way' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand serve" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand serve" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand list" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand list" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand list" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand info" -l host -d 'Ask the snapshotter at this address instead' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l dialect -d 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l connect-timeout -d 'How long to wait for a connection' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l idle-timeout -d 'How long to wait for the next byte; influxd flushes a shard\'s cache before its first' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l attempt-timeout -d 'How long one attempt at one shard may take' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l retries -d 'How often to try again after a failure, shard by shard, each time from its beginning' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l jobs -d 'How many shards to work on at a time' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l limit-rate -d 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand info" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand info" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand info" -s h -l help -d 'Print help'
complete -c snap -n "__fish_snap_using_subcommand verify" -l deep -d 'Look at every block of every TSM file' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l jobs -d 'How many files to read at a time' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l metrics-file -d 'Write how the run went into this file, for Prometheus\'s textfile collector' -r -F
complete -c snap -n "__fish_snap_using_subcommand verify" -l on-success -d 'Run this with sh when all went well; exit code 1 where it fails' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l on-failure -d 'Run this with sh when something failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand verify" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand verify" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand check" -l max-age -d 'How long ago the set may have been begun' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l database -l db -d 'Look for a set that took this database' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l max-lost-shards -d 'How many of the shards that the set before it holds may be gone without having expired, in percent' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l allow-empty -d 'Accept a set without shards although the set before it has some' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l metrics-file -d 'Write how the run went into this file, for Prometheus\'s textfile collector' -r -F
complete -c snap -n "__fish_snap_using_subcommand check" -l on-success -d 'Run this with sh when all went well; exit code 1 where it fails' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l on-failure -d 'Run this with sh when something failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand check" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand check" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-last -d 'Keep the N newest sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-hourly -d 'Keep the newest set of each of the last N hours that have sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-daily -d 'Keep the newest set of each of the last N days that have sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-weekly -d 'Keep the newest set of each of the last N weeks (Monday to Sunday) that have sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-monthly -d 'Keep the newest set of each of the last N months that have sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-yearly -d 'Keep the newest set of each of the last N years that have sets' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l keep-within -d 'Keep all sets begun within D before the newest complete one: 7d, 2w, 24h, 1y5m7d2h (m: months)' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l timezone -d 'Where hours, days, weeks, months and years begin: a name such as Europe/Berlin [default: UTC]' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l lost -d 'Remove the sets of which no file is left, as after rm -rf PATH/*; without -keep-…, these alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l dry-run -d 'Say what would be removed, and remove nothing' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l retry-lock -d 'How long to wait for another run in the same directory to end' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l metrics-file -d 'Write how the run went into this file, for Prometheus\'s textfile collector' -r -F
complete -c snap -n "__fish_snap_using_subcommand forget" -l on-success -d 'Run this with sh when all went well; exit code 1 where it fails' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l on-failure -d 'Run this with sh when something failed, is missing or is wrong' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand forget" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand forget" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand keep" -l note -d 'Say why, for snap list and snap info; nothing ("") takes an earlier note away' -r
complete -c snap -n "__fish_snap_using_subcommand keep" -l release -d 'Keep the set no longer' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l retry-lock -d 'How long to wait for another run in the same directory to end' -r
complete -c snap -n "__fish_snap_using_subcommand keep" -l quiet -d 'Print errors alone' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l verbose -d 'Print requests, retries and times as well' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l json -d 'Print JSON lines on standard output, each with a message_type' -r -f -a "true\t''
false\t''"
complete -c snap -n "__fish_snap_using_subcommand keep" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand keep" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snap -n "__fish_snap_using_subcommand generate" -l profile -d 'Take flags from this profile of the configuration, beside those of its [default]' -r
complete -c snap -n "__fish_snap_using_subcommand generate" -l config -d 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]' -r -F
complete -c snap -n "__fish_snap_using_subcommand generate" -s h -l help -d 'Print help'
