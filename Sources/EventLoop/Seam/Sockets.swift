/// The cold side of a backend: what happens once per socket. The kernel's, or scripted.
///
/// Called from the thread that starts a server and from its loops, hence Sendable.
package protocol Sockets: AnyObject, Sendable {
    /// Binds and listens. The descriptor is non-blocking; the caller owns it.
    func listen(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener

    /// The next waiting connection, or nil if there is none: for the last look at a backlog.
    func acceptWaiting(on listener: Descriptor) throws(SystemError) -> Descriptor?

    /// Sets up an accepted connection.
    func prepare(_ descriptor: Descriptor, _ options: StreamOptions)

    func localAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress
    func remoteAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress

    func set(_ option: StreamOption, on descriptor: Descriptor) throws(SystemError)

    /// Makes the coming close send a reset.
    func resetOnClose(_ descriptor: Descriptor)

    /// Closes a descriptor that no driver has.
    func discard(_ descriptor: Descriptor)

    /// Removes the path of a Unix listener, if it is still the one that `listen` made.
    func removePath(of listener: BoundListener)
}

/// A listening descriptor and the address that it really has: port 0 is replaced by the kernel's
/// choice.
package struct BoundListener: Sendable {
    package let descriptor: Descriptor
    package let address: SocketAddress
    /// Device and inode of a Unix path, so that nobody else's is removed.
    package let path: PathIdentity?

    package init(descriptor: Descriptor, address: SocketAddress, path: PathIdentity? = nil) {
        self.descriptor = descriptor
        self.address = address
        self.path = path
    }
}

package struct PathIdentity: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64

    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

package struct ListenOptions: Sendable {
    package var backlog: CInt
    package var reusePort: Bool
    /// An IPv6 listener serves IPv4 too unless this is set.
    package var onlyV6: Bool

    package init(backlog: CInt = 4096, reusePort: Bool = false, onlyV6: Bool = false) {
        self.backlog = backlog
        self.reusePort = reusePort
        self.onlyV6 = onlyV6
    }
}

package struct StreamOptions: Sendable {
    package var noDelay = true
    /// Seconds of silence before the first probe; nil leaves keep-alive off.
    package var keepAlive: CInt?

    package init(noDelay: Bool = true, keepAlive: CInt? = nil) {
        self.noDelay = noDelay
        self.keepAlive = keepAlive
    }
}

/// An option of a live stream. Sizes in bytes, times in seconds unless named otherwise.
package enum StreamOption: Sendable {
    case noDelay(Bool)
    case keepAlive(idle: CInt, interval: CInt, count: CInt)
    case noKeepAlive
    /// SO_LINGER off, or a reset at close. A positive linger would block the loop in close(2).
    case linger(reset: Bool)
    case receiveBuffer(CInt)
    case sendBuffer(CInt)
    case quickAck(Bool)
    case userTimeout(milliseconds: CInt)
}
