/// The sending of datagrams, apart from the other calls, since the outbox needs no more.
package protocol DatagramSending: AnyObject, Sendable {
    /// Sends without waiting.
    func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, on descriptor: Descriptor,
        _ form: DatagramForm
    ) -> DatagramsSent
}

/// The cold side of a backend: calls that happen once per socket. Kernel sockets, or simulated
/// ones.
///
/// Called from the thread that starts a server and from its loops, hence Sendable.
package protocol Sockets: DatagramSending {
    /// Binds and listens. The descriptor is non-blocking; the caller owns it.
    func listen(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener

    /// Adopts a bound socket that, unless it is for datagrams, already listens. Makes it
    /// non-blocking and close-on-exec.
    func adopt(_ descriptor: Descriptor) throws(SystemError) -> BoundListener

    /// Adopts a connected stream in the same way.
    func adoptStream(_ descriptor: Descriptor) throws(SystemError)

    /// Binds a datagram socket. The descriptor is non-blocking; the caller owns it.
    func bindDatagrams(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener

    /// Makes a socket for a connect to `address`. Non-blocking; the caller owns it.
    /// `receiveOffload` is for datagrams only, as in `ListenOptions`.
    func makeSocket(
        for address: SocketAddress, isDatagram: Bool, receiveOffload: Bool
    ) throws(SystemError) -> Descriptor

    /// Joins a multicast group on a network interface, or on the one that the kernel chooses.
    /// Throws ENODEV if there is none.
    func join(
        _ group: SocketAddress, interface: String?, on descriptor: Descriptor
    ) throws(SystemError)

    /// Accepts the next waiting connection of a listener that stops; nil if the backlog is empty.
    func acceptWaiting(on listener: Descriptor) throws(SystemError) -> AcceptedStream?

    /// Whether the socket holds bytes that no driver has received yet. Reads none.
    func hasUnread(_ descriptor: Descriptor) -> Bool

    /// The number of bytes of a TCP stream that the kernel holds and the peer's host has not
    /// acknowledged. A reset would destroy them.
    func unacknowledged(_ descriptor: Descriptor) -> Int

    /// The number of bytes of any stream in the kernel (SIOCOUTQ): not acknowledged by a TCP peer's
    /// host, or not read by a Unix peer.
    func sendQueue(_ descriptor: Descriptor) -> Int

    /// Sets the options of a new connection.
    func prepare(_ descriptor: Descriptor, _ options: StreamOptions)

    func localAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress
    func remoteAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress

    func set(_ option: StreamOption, on descriptor: Descriptor) throws(SystemError)
    /// Reads an option of at most `capacity` bytes.
    func option(
        level: CInt, name: CInt, capacity: Int, of descriptor: Descriptor
    ) throws(SystemError) -> [UInt8]

    /// Makes the following close send a reset.
    func resetOnClose(_ descriptor: Descriptor)

    /// Duplicates the descriptor, close-on-exec; the caller owns the new one.
    func duplicate(_ descriptor: Descriptor) throws(SystemError) -> Descriptor

    /// Closes a descriptor that no driver has.
    func discard(_ descriptor: Descriptor)

    /// Removes the path of a Unix listener, if it is still the one that `listen` made.
    func removePath(of listener: BoundListener)
}

/// A listening descriptor and its real address, in which the kernel's choice replaces port 0.
package struct BoundListener: Sendable {
    package let descriptor: Descriptor
    package let address: SocketAddress
    /// Device and inode of a Unix path, so that no other process's socket is removed.
    package let path: PathIdentity?
    /// The socket receives datagrams and accepts no connections.
    package let isDatagram: Bool
    /// Another process or the program made the socket. Accepted sockets inherit its options.
    package let isInherited: Bool
    /// The absolute path, valid after the process has changed its working directory; nil if
    /// unknown.
    package let absolutePath: String?
    /// The layers below the bytes of accepted connections.
    package var layers: StreamLayers = []
    /// The number of its address among those that the server has ever listened on.
    package var place = 0

    package init(
        descriptor: Descriptor, address: SocketAddress, path: PathIdentity? = nil,
        absolutePath: String? = nil, isDatagram: Bool = false, isInherited: Bool = false
    ) {
        self.isDatagram = isDatagram
        self.isInherited = isInherited
        self.absolutePath = absolutePath
        self.descriptor = descriptor
        self.address = address
        self.path = path
    }
}

/// An accepted connection and its peer. accept(2) reports the peer, since getpeername(2) fails for
/// a connection that was reset in the meantime.
package struct AcceptedStream: Sendable {
    package let descriptor: Descriptor
    package let peer: SocketAddress?
    /// The layers that the listener's address asks for.
    package var layers: StreamLayers

    package init(descriptor: Descriptor, peer: SocketAddress?, layers: StreamLayers = []) {
        self.descriptor = descriptor
        self.peer = peer
        self.layers = layers
    }
}

/// The layers between the bytes of an accepted socket and those of the handler.
package struct StreamLayers: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A filter, such as TLS.
    package static let secured = StreamLayers(rawValue: 1)
    /// A PROXY header, before all other bytes.
    package static let proxied = StreamLayers(rawValue: 2)
}

/// The form in which datagrams are passed to the kernel.
package enum DatagramForm {
    /// The cheapest form, sent from the address that the socket is bound to. Not for names that
    /// include a source.
    case plain
    /// Each datagram from the source behind its receiver's name, if there is one.
    case sourced
    /// Like `sourced`, but consecutive datagrams of one size, receiver and source form one message.
    case bundled
}

/// A datagram to send, of less than 4 GiB. Its memory must not change during the call. Has the
/// memory layout of `mr_outgoing`.
package struct OutgoingDatagram {
    private let start: UnsafeRawPointer?
    private let nameStart: UnsafeRawPointer?
    private let count: UInt32
    private let nameCount: UInt32

    package init(bytes: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer) {
        start = bytes.baseAddress
        nameStart = name.baseAddress
        count = UInt32(truncatingIfNeeded: bytes.count)
        nameCount = UInt32(truncatingIfNeeded: name.count)
    }

    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: start, count: Int(count))
    }

    /// The receiver in the kernel's form, possibly followed by the source (`AskedAddress`).
    package var name: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: nameStart, count: Int(nameCount))
    }
}

/// The result of one send call for datagrams.
package struct DatagramsSent {
    /// The number of datagrams sent, from the first on.
    package var count = 0
    /// The number of messages among them that held several datagrams.
    package var bundles = 0
    /// Set only if no datagram was sent: the errno, and the number of datagrams in the refused
    /// message.
    package var error: Int32 = 0
    package var refused = 0

    package init() {}
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
    /// Accepts a connection once bytes have arrived, or after this many seconds (TCP_DEFER_ACCEPT);
    /// nil: at once.
    package var deferAccept: CInt?
    /// For datagrams: the kernel may deliver several datagrams of one sender together (UDP_GRO).
    package var receiveOffload = false
    /// For datagrams: the bind fails if the kernel cannot split a message into several
    /// (UDP_SEGMENT).
    package var segmentationOffload = false
    /// For datagrams: sockets that also set this may bind the same port (SO_REUSEADDR).
    package var reuseAddress = false
    /// The mode of a Unix path; nil keeps the mode that results from the process's umask.
    package var mode: UInt16?
    /// Prefers connections that this processor handles (SO_INCOMING_CPU).
    package var incomingCPU: CInt?

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
    case other(level: CInt, name: CInt, value: [UInt8])
}
