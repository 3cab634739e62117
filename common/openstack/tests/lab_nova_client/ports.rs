//! Ports, their addresses, and what stands in their way.

use crate::zone::Zone;
use rekindle_lab::{Lab, Site};
use rekindle_openstack::neutron::{ByName, FixedIp, PortError, PortRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_keeps_its_address() {
    let lab = Lab::for_tests_with_nova().unwrap();
    let zone = Zone::new(&lab, Site::ZoneB).await;
    let name = format!("client-net-{}", std::process::id());
    let net = zone.member(&["network", "create", &name]);
    let net = net["id"].as_str().unwrap();
    let range = [
        "subnet",
        "create",
        "--network",
        net,
        "--subnet-range",
        "10.77.0.0/24",
    ];
    let subnet = zone.member(&[&range[..], &[&name]].concat());
    let neutron = &zone.neutron;

    match neutron.network(&zone.project, &name).await.unwrap() {
        ByName::One(n) => {
            assert!(n.id == net && !n.external && n.project_id.as_ref() == Some(&zone.project))
        }
        other @ (ByName::None | ByName::Several(_)) => panic!("{other:?}"),
    }
    let subnets = neutron.subnets(net).await.unwrap();
    assert_eq!(subnets[0].id, subnet["id"]);
    let default = neutron
        .security_group(&zone.project, "default")
        .await
        .unwrap();
    let ByName::One(default) = default else {
        panic!("{default:?}");
    };
    let new = PortRequest {
        mark: "rekindle:client-test/s0/0".into(),
        project: zone.project.clone(),
        name: "client-0".into(),
        network: net.into(),
        fixed_ips: vec![FixedIp {
            subnet: Some(subnets[0].id.clone()),
            address: Some("10.77.0.50".into()),
        }],
        mac: Some("fa:16:3e:77:00:01".into()),
        security_groups: Some(vec![default.id.clone()]),
        port_security_enabled: None,
        allowed_address_pairs: Vec::new(),
    };
    let port = neutron.ensure_port(&new).await.unwrap();
    assert_eq!(port.project_id.as_ref(), Some(&zone.project));
    assert_eq!(
        (port.fixed_ips.clone(), port.mac.clone()),
        (new.fixed_ips.clone(), new.mac.clone())
    );
    assert_eq!(
        (port.security_groups.clone(), port.device_id.clone()),
        (Some(vec![default.id]), None)
    );
    assert_eq!(neutron.ensure_port(&new).await.unwrap().id, port.id);
    assert_eq!(neutron.port(&port.id).await.unwrap(), port);
    assert_eq!(neutron.ports_of("no-server").await.unwrap(), []);

    // Another's wish for the same address, then for the same hardware address.
    let mut other = PortRequest {
        mark: "rekindle:client-test/s1/0".into(),
        mac: None,
        ..new.clone()
    };
    match neutron.ensure_port(&other).await {
        Err(PortError::AddressTaken {
            address,
            port: holder,
            ..
        }) => {
            assert_eq!((address.as_str(), &holder), ("10.77.0.50", &port.id));
        }
        Err(e) => panic!("{e}"),
        Ok(port) => panic!("{port:?}"),
    }
    (other.mac, other.fixed_ips) = (new.mac.clone(), Vec::new());
    match neutron.ensure_port(&other).await {
        Err(PortError::AddressTaken { address, .. }) => assert_eq!(Some(address), new.mac),
        Err(e) => panic!("{e}"),
        Ok(port) => panic!("{port:?}"),
    }
    zone.admin(&["quota", "set", "--ports", "1", "demo"]);
    other.mac = None;
    let over = neutron.ensure_port(&other).await;
    zone.admin(&["quota", "delete", "--network", "demo"]);
    match over {
        Err(PortError::OverQuota { over, .. }) => assert_eq!((over.left, over.limit), (0, 1)),
        Err(e) => panic!("{e}"),
        Ok(port) => panic!("{port:?}"),
    }
    for _ in 0..2 {
        neutron.ensure_port_absent(&port.id).await.unwrap();
    }
    zone.os
        .openstack(&zone.os.member, &["network", "delete", net])
        .unwrap();
}
