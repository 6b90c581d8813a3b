
# `python -m themo`: other command lines of python go to the completion that python had
_themo_python_before=""
for _themo_loader in _comp_load _completion_loader; do
    if declare -F "$_themo_loader" >/dev/null; then "$_themo_loader" python >/dev/null 2>&1; break; fi
done
if [[ "$(complete -p python 2>/dev/null)" =~ -F\ ([^\ ]+) && "${BASH_REMATCH[1]}" != _themo_as_module ]]; then
    _themo_python_before="${BASH_REMATCH[1]}"
fi
_themo_as_module() {
    if [[ "${COMP_WORDS[1]-}" != -m || "${COMP_WORDS[2]-}" != themo || $COMP_CWORD -lt 3 ]]; then
        if [[ -n "$_themo_python_before" ]]; then "$_themo_python_before" "$@"; fi
        return
    fi
    local IFS=$'\013' SUPPRESS_SPACE=0
    if compopt +o nospace 2>/dev/null; then SUPPRESS_SPACE=1; fi
    COMPREPLY=($(IFS="$IFS" \
        COMP_LINE="$COMP_LINE" \
        COMP_POINT="$COMP_POINT" \
        COMP_TYPE="$COMP_TYPE" \
        _ARGCOMPLETE_COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        _ARGCOMPLETE=3 \
        _ARGCOMPLETE_SHELL="bash" \
        _ARGCOMPLETE_SUPPRESS_SPACE=$SUPPRESS_SPACE \
        __python_argcomplete_run "$1" -m themo))
    if [[ $? != 0 ]]; then unset COMPREPLY; fi
}
complete -o nospace -o default -o bashdefault -F _themo_as_module python python3
