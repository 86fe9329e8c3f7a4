# bash completion for snap, which says itself what fits: see src/cli/complete.
# Source this file, or install it as /usr/share/bash-completion/completions/snap.

_snap() {
    local command=${1/#\~\//"$HOME/"} reply
    mapfile -t reply <<<"$("$command" __complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)"
    COMPREPLY=("${reply[@]:1}")
    compopt -o nosort 2>/dev/null
    case ${reply[0]} in
        dirs) compopt -o plusdirs ;;
        files) compopt -o default ;;
    esac
}

complete -F _snap snap
