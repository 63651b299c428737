internal import MillraceEventLoop

/// Names in the list of addresses: looked up once, at the start, before anything is bound.
extension Server {
    /// Returns the addresses to bind, in the order of the list.
    func toBind(
        _ addresses: [Address], _ lookups: ListenLookups
    ) throws(NetError) -> [ListenAddress] {
        let hosts = addresses.indices.filter { addresses[$0].needsLookup }
        let found = hosts.isEmpty ? [:] : try resolve(addresses, hosts, lookups)
        return addresses.indices.compactMap { place in
            let address = addresses[place]
            let known = found[place] ?? address.socketAddress.map { [$0] } ?? []
            guard let first = known.first else { return nil }
            return ListenAddress(
                first, onlyV6: address.onlyV6, isDatagram: address.isDatagram,
                isAnyHost: address.isAnyHost, layers: address.layers,
                inherited: address.inherited.map { Descriptor($0) },
                others: Array(known.dropFirst()))
        }
    }

    private func resolve(
        _ addresses: [Address], _ places: [Int], _ lookups: ListenLookups
    ) throws(NetError) -> [Int: [SocketAddress]] {
        let limit = options.names.startTimeout
        let deadline = MonotonicClock.now + Nanoseconds(limit)
        for place in places {
            guard let host = addresses[place].hostName else { continue }
            lookups.begin(place, host, resolver)
        }
        switch lookups.wait(for: places.count, until: deadline) {
        case .found(let found): return found
        case .failed(let place, let failure):
            throw NetError(connectingTo: addresses[place], failure)
        case .late(let place): throw NetError(connectingTo: addresses[place], .resolvingLate)
        case .givenUp: throw .hasStopped
        }
    }

    /// Makes the error for an address that could not be bound.
    func bindError(
        _ address: Address, _ wanted: ListenAddress, _ error: SystemError
    ) -> NetError {
        guard address.needsLookup, error.isAboutAddress else {
            return NetError(listeningOn: address, error)
        }
        let tried = [wanted.address] + wanted.others
        return NetError(listeningOn: address, none: tried, error)
    }
}

/// The lookups of a server's start. A stop ends the wait for them.
final class ListenLookups: Sendable {
    enum Outcome {
        case found([Int: [SocketAddress]])
        case failed(Int, ConnectFailure)
        /// The first address in the list without an answer.
        case late(Int)
        case givenUp
    }

    private struct State {
        var lookups: [Int: Lookup] = [:]
        var found: [Int: [SocketAddress]] = [:]
        var failure: (place: Int, failure: ConnectFailure)?
        var isGivenUp = false
    }

    private let state = Monitor(State())

    func begin(_ place: Int, _ host: HostName, _ resolver: any NameResolver) {
        let lookup = Lookup(host: host.text, family: host.family)
        state.withLock { $0.lookups[place] = lookup }
        let answer = LookupAnswer(lookup) { [state] found in
            let result = found.map { addresses in
                AddressOrder.inOrder(addresses, family: host.family).map {
                    $0.with(port: host.port)
                }
            }
            state.update { state in
                switch result {
                case .success(let list) where list.isEmpty:
                    state.failure = state.failure ?? (place, .noAddress)
                case .success(let list): state.found[place] = list
                case .failure(let error):
                    state.failure = state.failure ?? (place, .unresolved(error))
                }
            }
        }
        resolver.resolve(lookup, answer)
    }

    func giveUp() { state.update { $0.isGivenUp = true } }

    /// Waits for all answers or the first failure.
    func wait(for count: Int, until deadline: Nanoseconds) -> Outcome {
        let outcome = state.wait(until: deadline) { state -> Outcome? in
            if state.isGivenUp { return .givenUp }
            if let (place, failure) = state.failure { return .failed(place, failure) }
            return state.found.count == count ? .found(state.found) : nil
        }
        return state.withLock { state in
            // A late answer finds no lookup that waits for it.
            for lookup in state.lookups.values { lookup.end() }
            let missing = state.lookups.keys.filter { state.found[$0] == nil }.min()
            return outcome ?? .late(missing ?? 0)
        }
    }
}
