# SPDX-License-Identifier: Apache-2.0
# bash completion for tarn

_tarn() {
    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    local commands="convert mount umount ps stats ls cat inspect check digest export"
    local options
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
        return
    fi
    case $command in
    convert) options="--layer --platform --all-platforms --replace --dict --level --threads
        --no-reuse --no-layer-tags --quiet --json --help" ;;
    mount) options="--root --ino32 --platform --json --help" ;;
    umount | ps | stats) options="--root --json --help" ;;
    check) options="--quick --platform --json --help" ;;
    ls) options="-l -R --platform --json --help" ;;
    *) options="--platform --json --help" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == : || $current == */* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "oci: oci-archive: tar: dir:" -- "$current")
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o nospace -F _tarn tarn
