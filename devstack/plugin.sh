# devstack/plugin.sh
# Rekindle's part in each phase of stack.sh, unstack.sh and clean.sh. The functions are in devstack/lib/rekindle.

if [[ "$1" == "stack" && "$2" == "pre-install" ]]; then
    echo_summary "Checking Rekindle's settings"
    check_rekindle_settings

elif [[ "$1" == "stack" && "$2" == "install" ]]; then
    echo_summary "Installing Rekindle"
    install_rekindle

elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    echo_summary "Configuring and starting Rekindle"
    # Cinder starts after this phase, and calls the sidecar. Keystone serves already.
    create_rekindle_accounts
    configure_rekindle
    start_rekindle

elif [[ "$1" == "stack" && "$2" == "extra" ]]; then
    if is_service_enabled c-api; then
        echo_summary "Creating Rekindle's volume types"
        create_rekindle_types
    fi
fi

if [[ "$1" == "unstack" ]]; then
    stop_rekindle
fi

if [[ "$1" == "clean" ]]; then
    cleanup_rekindle
fi
