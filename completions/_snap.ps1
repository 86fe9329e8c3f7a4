
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'snap' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'snap'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'snap' {
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Download the metastore and the shards of a running influxd into a backup directory')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Put a backup back: into the directories of a stopped influxd, or with -online into a running one')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Be the snapshotter service over the directories of a stopped influxd')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show the sets in a backup directory, oldest first')
            [CompletionResult]::new('info', 'info', [CompletionResultType]::ParameterValue, 'Show what one set holds, shard by shard; with -host, what a server holds')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Read sets end to end and report damage')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Say whether the newest complete set is new enough and its files are there: for monitoring')
            [CompletionResult]::new('forget', 'forget', [CompletionResultType]::ParameterValue, 'Remove the sets that a retention policy does not keep')
            [CompletionResult]::new('keep', 'keep', [CompletionResultType]::ParameterValue, 'Keep a set: snap forget never removes it')
            [CompletionResult]::new('generate', 'generate', [CompletionResultType]::ParameterValue, 'Print shell completions or the manual page')
            break
        }
        'snap;backup' {
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'The snapshotter: host:port, or a host alone for port 8088')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte; influxd flushes a shard''s cache before its first')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try again after a failure, shard by shard, each time from its beginning')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none')
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'Back up a stopped influxd with this meta directory; -datadir is needed too, and -host is not asked')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'Back up a stopped influxd with this data directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'The WAL directory: what is in it is taken as TSM files [default: wal beside -datadir]')
            [CompletionResult]::new('--ignore-wal', '--ignore-wal', [CompletionResultType]::ParameterName, 'Leave out what is in the WAL only')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Take this database alone')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Take this database alone')
            [CompletionResult]::new('--retention', '--retention', [CompletionResultType]::ParameterName, 'Take this retention policy alone')
            [CompletionResult]::new('--rp', '--rp', [CompletionResultType]::ParameterName, 'Take this retention policy alone')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Take this shard alone')
            [CompletionResult]::new('--include-internal', '--include-internal', [CompletionResultType]::ParameterName, 'Take _internal too, where all databases are taken')
            [CompletionResult]::new('--meta-only', '--meta-only', [CompletionResultType]::ParameterName, 'Take the metastore and no shard')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Take the files that the server changed after T, or after the newest complete set was begun: an increment to it')
            [CompletionResult]::new('--start', '--start', [CompletionResultType]::ParameterName, 'Take points from T on')
            [CompletionResult]::new('--end', '--end', [CompletionResultType]::ParameterName, 'Take points up to T')
            [CompletionResult]::new('--stop', '--stop', [CompletionResultType]::ParameterName, 'Take points up to T')
            [CompletionResult]::new('--coarse', '--coarse', [CompletionResultType]::ParameterName, 'With -start and -end, leave blocks whole as the server sends them, with points before and after')
            [CompletionResult]::new('--incremental', '--incremental', [CompletionResultType]::ParameterName, 'Download only shards that have changed since the newest complete set, and share the files of the others with it: each set is whole, and restored alone')
            [CompletionResult]::new('--full', '--full', [CompletionResultType]::ParameterName, 'With -incremental, download all shards this once')
            [CompletionResult]::new('--full-every', '--full-every', [CompletionResultType]::ParameterName, 'With -incremental, download all shards in every Nth set')
            [CompletionResult]::new('--cold-after', '--cold-after', [CompletionResultType]::ParameterName, 'With -incremental and -resume, download shards that changed less than D before the earlier run was begun; with -since last, begin so much earlier: more than the clocks of server and client may differ')
            [CompletionResult]::new('--portable', '--portable', [CompletionResultType]::ParameterName, 'Write influxd''s portable layout: compressed tars and a manifest, for `influxd restore -portable`')
            [CompletionResult]::new('--apply-deletes', '--apply-deletes', [CompletionResultType]::ParameterName, 'Leave points out that the server has deleted and not compacted away yet, and the tombstones that say so: a live restore by influxd does not observe them. Of shards that are taken whole [default: true with -portable, else false]')
            [CompletionResult]::new('--flush-timeout', '--flush-timeout', [CompletionResultType]::ParameterName, 'How long to ask a server that is busy writing a shard to files, shard by shard; then the shard is stored as it comes, the set is marked as partial, and the exit code is 3')
            [CompletionResult]::new('--skip-errors', '--skip-errors', [CompletionResultType]::ParameterName, 'Where shards fail, make a set of the others, marked as partial, and exit with 3')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'Take over the shards that an earlier run of the same kind had finished before it failed with -resume, or was killed, and that have not changed since; and keep those that this one finishes, should it fail')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be downloaded, and download nothing')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in the same directory to end')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write how the run went into this file, for Prometheus''s textfile collector')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh when all went well; exit code 1 where it fails')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh when something failed, is missing or is wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;restore' {
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'Restore the metastore into this directory')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'Restore shards into this directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'The WAL directory, looked at for data of the shards that are restored [default: wal beside -datadir]')
            [CompletionResult]::new('--online', '--online', [CompletionResultType]::ParameterName, 'Restore into the running server at -host, whatever the layout of the backup')
            [CompletionResult]::new('--portable', '--portable', [CompletionResultType]::ParameterName, 'The same as -online, for scripts of influxd''s: the layout is found out. With -metadir and -datadir it says nothing')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'With -online, the server''s snapshotter; else where an influxd that runs on the target would answer: it is asked first')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Restore this database alone')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Restore this database alone')
            [CompletionResult]::new('--retention', '--retention', [CompletionResultType]::ParameterName, 'Restore this retention policy alone')
            [CompletionResult]::new('--rp', '--rp', [CompletionResultType]::ParameterName, 'Restore this retention policy alone')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Restore this shard alone')
            [CompletionResult]::new('--newdb', '--newdb', [CompletionResultType]::ParameterName, 'Give the database this name')
            [CompletionResult]::new('--newrp', '--newrp', [CompletionResultType]::ParameterName, 'Give the retention policy this name')
            [CompletionResult]::new('--start', '--start', [CompletionResultType]::ParameterName, 'Restore points from T on')
            [CompletionResult]::new('--end', '--end', [CompletionResultType]::ParameterName, 'Restore points up to T')
            [CompletionResult]::new('--stop', '--stop', [CompletionResultType]::ParameterName, 'Restore points up to T')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace the metastore and the shards that the target holds')
            [CompletionResult]::new('--merge', '--merge', [CompletionResultType]::ParameterName, 'Add the databases to the target''s metastore, with new shard and group ids')
            [CompletionResult]::new('--index', '--index', [CompletionResultType]::ParameterName, 'The index of the restored shards: that of the target''s other shards (auto), inmem, or tsi1, which influxd builds at its next start')
            [CompletionResult]::new('--apply-deletes', '--apply-deletes', [CompletionResultType]::ParameterName, 'Leave out points that were deleted and not yet compacted away, so that they stay deleted on every version of influxd. With =false, files are restored as they are: into directories with the tombstones, with -online without them, so that the points come back')
            [CompletionResult]::new('--no-verify', '--no-verify', [CompletionResultType]::ParameterName, 'With -online, do not read shards back to compare them')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'With -online, go on with the interrupted restore from PATH into -host')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be written, and write nothing')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte; influxd flushes a shard''s cache before its first')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try again after a failure, shard by shard, each time from its beginning')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write how the run went into this file, for Prometheus''s textfile collector')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh when all went well; exit code 1 where it fails')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh when something failed, is missing or is wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;serve' {
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'The meta directory')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'The data directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'The WAL directory: what is in it is served as TSM files [default: wal beside -datadir]')
            [CompletionResult]::new('--ignore-wal', '--ignore-wal', [CompletionResultType]::ParameterName, 'Serve shards without what is in their WAL')
            [CompletionResult]::new('--bind', '--bind', [CompletionResultType]::ParameterName, 'The address to listen on')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The dialects to answer in')
            [CompletionResult]::new('--writable', '--writable', [CompletionResultType]::ParameterName, 'Answer imports and uploads too, which change the directories')
            [CompletionResult]::new('--connections', '--connections', [CompletionResultType]::ParameterName, 'How many connections to serve at a time')
            [CompletionResult]::new('--grace', '--grace', [CompletionResultType]::ParameterName, 'How long to wait at the end for requests under way')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;list' {
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;info' {
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Ask the snapshotter at this address instead')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte; influxd flushes a shard''s cache before its first')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try again after a failure, shard by shard, each time from its beginning')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'How many bytes per second to move at the most, all shards together: 20MiB, 20M (a million each), none')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'snap;verify' {
            [CompletionResult]::new('--deep', '--deep', [CompletionResultType]::ParameterName, 'Look at every block of every TSM file')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many files to read at a time')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write how the run went into this file, for Prometheus''s textfile collector')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh when all went well; exit code 1 where it fails')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh when something failed, is missing or is wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;check' {
            [CompletionResult]::new('--max-age', '--max-age', [CompletionResultType]::ParameterName, 'How long ago the set may have been begun')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Look for a set that took this database')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Look for a set that took this database')
            [CompletionResult]::new('--max-lost-shards', '--max-lost-shards', [CompletionResultType]::ParameterName, 'How many of the shards that the set before it holds may be gone without having expired, in percent')
            [CompletionResult]::new('--allow-empty', '--allow-empty', [CompletionResultType]::ParameterName, 'Accept a set without shards although the set before it has some')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write how the run went into this file, for Prometheus''s textfile collector')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh when all went well; exit code 1 where it fails')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh when something failed, is missing or is wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;forget' {
            [CompletionResult]::new('--keep-last', '--keep-last', [CompletionResultType]::ParameterName, 'Keep the N newest sets')
            [CompletionResult]::new('--keep-hourly', '--keep-hourly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N hours that have sets')
            [CompletionResult]::new('--keep-daily', '--keep-daily', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N days that have sets')
            [CompletionResult]::new('--keep-weekly', '--keep-weekly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N weeks (Monday to Sunday) that have sets')
            [CompletionResult]::new('--keep-monthly', '--keep-monthly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N months that have sets')
            [CompletionResult]::new('--keep-yearly', '--keep-yearly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N years that have sets')
            [CompletionResult]::new('--keep-within', '--keep-within', [CompletionResultType]::ParameterName, 'Keep all sets begun within D before the newest complete one: 7d, 2w, 24h, 1y5m7d2h (m: months)')
            [CompletionResult]::new('--timezone', '--timezone', [CompletionResultType]::ParameterName, 'Where hours, days, weeks, months and years begin: a name such as Europe/Berlin [default: UTC]')
            [CompletionResult]::new('--lost', '--lost', [CompletionResultType]::ParameterName, 'Remove the sets of which no file is left, as after rm -rf PATH/*; without -keep-…, these alone')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be removed, and remove nothing')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in the same directory to end')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write how the run went into this file, for Prometheus''s textfile collector')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh when all went well; exit code 1 where it fails')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh when something failed, is missing or is wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;keep' {
            [CompletionResult]::new('--note', '--note', [CompletionResultType]::ParameterName, 'Say why, for snap list and snap info; nothing ("") takes an earlier note away')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'Keep the set no longer')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in the same directory to end')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors alone')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output, each with a message_type')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;generate' {
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration, beside those of its [default]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
