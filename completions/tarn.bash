# SPDX-License-Identifier: Apache-2.0
# bash completion for tarn

_tarn() {
    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    local commands="convert mount umount ps stats ls cat inspect check digest export"
    local options registry="--ca --insecure --plain-http --timeout"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
        return
    fi
    case $command in
    convert) options="--layer --platform --all-platforms --replace --referrer --dict --level --threads
        --no-reuse --no-layer-tags --quiet --json --help $registry" ;;
    mount) options="--root --idle --ino32 --no-ino32 --allow-other --platform --help $registry" ;;
    umount) options="--lazy --root --help" ;;
    ps | stats) options="--root --json --help" ;;
    check) options="--quick --platform --json --help $registry" ;;
    ls) options="-l -R --platform --json --help $registry" ;;
    *) options="--platform --json --help $registry" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == : || $current == */* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "docker:// oci: oci-archive: tar: dir:" -- "$current")
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o nospace -F _tarn tarn
