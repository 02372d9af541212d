using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KTrace.Debugger.Memory;

/// <summary>
/// A piece of a running guest's RAM that both sides read and write while it runs. What is read may change between two looks at it: whoever wants to check and use a value takes a copy first.
/// </summary>
public sealed unsafe class SharedPiece : IDisposable
{
    private readonly SafeBuffer _handle;
    private readonly byte* _start;
    private bool _held;

    internal SharedPiece(SafeBuffer handle, byte* start, int length)
    {
        _handle = handle;
        handle.DangerousAddRef(ref _held);
        _start = start;
        Length = length;
    }

    /// <summary>Bytes.</summary>
    public int Length { get; }

    /// <summary>All of it. Not to be used behind <see cref="Dispose"/>.</summary>
    public Span<byte> Bytes
    {
        get
        {
            ObjectDisposedException.ThrowIf(!_held, this);
            return new Span<byte>(_start, Length);
        }
    }

    /// <summary>One load, which nothing that comes later in the program overtakes.</summary>
    public ulong LoadUInt64(int offset) => Volatile.Read(ref At<ulong>(offset));

    /// <inheritdoc cref="LoadUInt64"/>
    public uint LoadUInt32(int offset) => Volatile.Read(ref At<uint>(offset));

    /// <summary>One store, which nothing that came before it in the program falls behind.</summary>
    public void StoreUInt64(int offset, ulong value) => Volatile.Write(ref At<ulong>(offset), value);

    /// <inheritdoc cref="StoreUInt64"/>
    public void StoreUInt32(int offset, uint value) => Volatile.Write(ref At<uint>(offset), value);

    public void Dispose()
    {
        if (_held)
        {
            _held = false;
            _handle.DangerousRelease();
        }
    }

    private ref T At<T>(int offset)
        where T : unmanaged
    {
        ObjectDisposedException.ThrowIf(!_held, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - sizeof(T));
        return ref Unsafe.AsRef<T>(_start + offset);
    }
}
