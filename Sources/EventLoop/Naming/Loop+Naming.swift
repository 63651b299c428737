import Glibc

/// Connects by name: performs the decisions of `ConnectRace` with sockets and timers.
extension Loop {
    /// Looks the host up and connects to the first of its addresses that answers. `done` runs like
    /// that of a connect to an address, and fails with a `ConnectFailure`.
    package func connect(
        to target: NamedTarget, timeout: Nanoseconds, as name: ConnectName? = nil,
        _ done: @escaping ConnectResult
    ) {
        guard mayConnect, let resolver = configuration.resolver else {
            let number = mayConnect ? ENOSYS : ECANCELED
            return postpone {
                try? done(.failure(ConnectFailure.cancelled(SystemError(number, "connect"))))
            }
        }
        let race = ConnectRace(
            deadline: driver.clock + max(0, timeout), delay: configuration.attemptDelay)
        let connect = NamedConnect(
            id: namedConnects.nextID(), target: target, name: name, race: race, done: done)
        namedConnects.add(connect)
        armTimer(connect)
        if let name {
            name.isAt(.race(connect.id), of: remote)
            // A cancel before `isAt` found no port to post to.
            if name.isGivenUp { postpone { self.giveUpConnecting(name) } }
        }
        counters.lookups.add()
        let (remote, id, family) = (remote, connect.id, target.family)
        resolver.resolve(
            connect.lookup,
            LookupAnswer(connect.lookup) { found in
                // On the resolver's thread, since an answer may be long.
                let order = found.map { AddressOrder.interleaved($0, family: family) }
                _ = remote.post(.run { $0.resolved(id, order) }, always: true)
            })
    }

    /// Whether a connect can begin: the loop does not drain and has not ended.
    var mayConnect: Bool { phase == .running || phase == .acceptedLast }

    /// Ends every connect by name that has no winner yet, since the loop stops.
    func stopNamedConnects(_ error: SystemError) {
        for connect in namedConnects.all { perform(connect.race.stop(error), of: connect) }
    }

    func cancelNamedConnect(_ id: UInt64, _ error: SystemError) {
        guard let connect = namedConnects.find(id) else { return }
        perform(connect.race.cancel(error), of: connect)
    }

    func namedConnectDue(_ id: UInt64) {
        guard let connect = namedConnects.find(id) else { return }
        perform(connect.race.timePassed(at: now), of: connect)
    }

    /// Closes the sockets of the other attempts: this one is connected.
    func connected(_ entry: RaceEntry) {
        perform(entry.connect.race.connected(entry.attempt), of: entry.connect)
    }

    private func resolved(_ id: UInt64, _ found: LookupAnswer.Found) {
        guard let connect = namedConnects.find(id) else { return }
        switch found {
        case .success(let addresses):
            perform(connect.race.resolved(addresses, at: now), of: connect)
        case .failure(let error):
            counters.lookupFailures.add()
            perform(connect.race.unresolved(error, at: now), of: connect)
        }
    }

    private func perform(_ commands: [ConnectRace.Command], of connect: NamedConnect) {
        // First, so that the connect is over before a closure of the program runs.
        if connect.race.isOver { forget(connect) } else { armTimer(connect) }
        for command in commands {
            switch command {
            case .attempt(let attempt): start(attempt, of: connect)
            case .abandon(let attempt): abandon(attempt, of: connect)
            case .fail(let failure):
                // An error of the closure has no connection to close.
                runClosure(for: nil) { _ in try? connect.done(.failure(failure)) }
            }
        }
    }

    private func start(_ attempt: Int, of connect: NamedConnect) {
        let target = connect.target
        let address = connect.race.addresses[attempt].with(port: target.port)
        connect.sockets.append(nil)
        let peer = target.securedName.map { FilterPeer(name: $0, address: address) }
        self.connect(
            to: address, isDatagram: target.isDatagram, deadline: connect.race.deadline,
            as: nil, securedTo: peer, in: RaceEntry(connect: connect, attempt: attempt)
        ) { [unowned self] result in
            switch result {
            case .success(let connection):
                guard connect.race.opened(attempt) else { return close(connection, .local) }
                forget(connect)
                try connect.done(.success(connection))
            case .failure(let error):
                perform(connect.race.failed(attempt, error, at: now), of: connect)
            }
        }
    }

    private func abandon(_ attempt: Int, of connect: NamedConnect) {
        guard let token = connect.sockets[attempt], let connection = table.find(token),
            isConnecting(connection)
        else { return }
        abandonConnect(connection, SystemError(ECANCELED, "connect"))
    }

    private func armTimer(_ connect: NamedConnect) {
        timers.cancel(connect.timer)
        guard let time = connect.race.nextTime else { return }
        connect.timer = timers.schedule(at: time, .namedConnect(connect.id))
    }

    private func forget(_ connect: NamedConnect) {
        timers.cancel(connect.timer)
        connect.lookup.end()
        namedConnects.remove(connect.id)
    }
}
