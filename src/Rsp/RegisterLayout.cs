// GDB Remote Serial Protocol, `g`: registers in the order of their numbers, each in target byte order, two digits a byte, `xx` for a byte
// that is not available; the reply may end before the last register. Little-endian targets are assumed for values (bytes are as they came).
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace KTrace.Rsp;

/// <summary>One register as target.xml describes it.</summary>
/// <param name="Number">The number for p and P.</param>
/// <param name="Feature">The feature that it belongs to, such as org.gnu.gdb.i386.core.</param>
/// <param name="Offset">Its place in the bytes of a `g` reply.</param>
public sealed record RegisterDescription(string Name, int Number, int BitSize, string? Type, string? Group, string Feature, int Offset)
{
    public int ByteSize => (BitSize + 7) / 8;
}

/// <summary>Where each register lies in a `g` reply.</summary>
public sealed class RegisterLayout
{
    private readonly Dictionary<string, RegisterDescription> _byName = new(StringComparer.Ordinal);

    /// <param name="registers">In order of their numbers, with offsets.</param>
    internal RegisterLayout(ImmutableArray<RegisterDescription> registers)
    {
        Registers = registers;
        foreach (var register in registers)
        {
            _byName.TryAdd(register.Name, register);
            ByteSize = Math.Max(ByteSize, register.Offset + register.ByteSize);
        }
    }

    /// <summary>In order of their numbers.</summary>
    public ImmutableArray<RegisterDescription> Registers { get; }

    /// <summary>The bytes of a complete `g` reply.</summary>
    public int ByteSize { get; }

    public bool TryFind(string name, [NotNullWhen(true)] out RegisterDescription? register) => _byName.TryGetValue(name, out register);

    /// <summary>The register of that number, as p, P and stop replies name it.</summary>
    public bool TryFind(int number, [NotNullWhen(true)] out RegisterDescription? register)
    {
        var at = Registers.AsSpan().BinarySearch(new NumberOf(number));
        register = at < 0 ? null : Registers[at];
        return register is not null;
    }

    /// <summary>Prepares reading the named registers quickly and in this order; a name that the target has not is never known.</summary>
    /// <exception cref="ArgumentException">More than 64 names.</exception>
    public RegisterSelection Select(params ReadOnlySpan<string> names)
    {
        if (names.Length > 64)
        {
            throw new ArgumentException($"{names.Length} registers selected, 64 is the limit of the known mask", nameof(names));
        }

        var chosen = new RegisterDescription?[names.Length];
        for (var i = 0; i < names.Length; i++)
        {
            chosen[i] = _byName.GetValueOrDefault(names[i]);
        }

        return new RegisterSelection(chosen);
    }

    private readonly struct NumberOf(int number) : IComparable<RegisterDescription>
    {
        public int CompareTo(RegisterDescription? other) => number.CompareTo(other!.Number);
    }
}

/// <summary>Register values as bytes, in the layout's order; filled by `g` and `p`. Reused from stop to stop.</summary>
public sealed class RegisterBlock
{
    private readonly byte[] _bytes;

    // A bit per byte. `g` sets it as a whole, so the common reply without holes costs one comparison.
    private readonly System.Collections.BitArray _missing;
    private bool _anyMissing = true;

    public RegisterBlock(RegisterLayout layout)
    {
        Layout = layout;
        _bytes = new byte[layout.ByteSize];
        _missing = new System.Collections.BitArray(_bytes.Length, true);
    }

    public RegisterLayout Layout { get; }

    /// <summary>How many bytes the last `g` reply had.</summary>
    public int Received { get; private set; }

    /// <summary>The bytes; zeros where nothing is known.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>Whether the stub sent this register's value.</summary>
    public bool IsAvailable(RegisterDescription register)
    {
        if (!_anyMissing)
        {
            return true;
        }

        for (var i = 0; i < register.ByteSize; i++)
        {
            if (_missing[register.Offset + i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The register's bytes in target order; zeros when it is not available.</summary>
    public ReadOnlySpan<byte> BytesOf(RegisterDescription register) => _bytes.AsSpan(register.Offset, register.ByteSize);

    /// <summary>The value of a register of at most 64 bits; false when it is wider or not available.</summary>
    public bool TryGetValue(RegisterDescription register, out ulong value)
    {
        value = 0;
        if (register.ByteSize > 8 || !IsAvailable(register))
        {
            return false;
        }

        value = ReadLittleEndian(BytesOf(register));
        return true;
    }

    /// <exception cref="ArgumentException">The bytes are not as many as the register's.</exception>
    public void SetBytes(RegisterDescription register, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != register.ByteSize)
        {
            throw new ArgumentException($"{register.Name} has {register.ByteSize} bytes, {bytes.Length} were given", nameof(bytes));
        }

        bytes.CopyTo(_bytes.AsSpan(register.Offset));
        for (var i = 0; _anyMissing && i < bytes.Length; i++)
        {
            _missing[register.Offset + i] = false;
        }
    }

    /// <exception cref="ArgumentException">The register is wider than 64 bits, or the value does not fit into it.</exception>
    public void SetValue(RegisterDescription register, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        if (register.ByteSize > 8 || bytes[register.ByteSize..].ContainsAnyExcept((byte)0))
        {
            throw new ArgumentException($"0x{value:x} does not fit into {register.Name}, which has {register.BitSize} bits", nameof(value));
        }

        SetBytes(register, bytes[..register.ByteSize]);
    }

    internal static ulong ReadLittleEndian(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length == 8)
        {
            return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        }

        ulong value = 0;
        for (var i = bytes.Length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        return value;
    }

    /// <summary>Takes the registers that came with a stop reply (gdbserver and Valgrind: frame pointer, stack pointer and pc); the others stay as they are.</summary>
    /// <returns>How many it took.</returns>
    public int Take(StopReply.Stopped stop)
    {
        var taken = 0;
        foreach (var sent in stop.Registers.IsDefault ? [] : stop.Registers)
        {
            taken += Layout.TryFind(sent.Number, out var register) && TryFill(register, System.Text.Encoding.ASCII.GetBytes(sent.Hex)) ? 1 : 0;
        }

        return taken;
    }

    /// <summary>Takes a `g` reply; false when it is malformed or longer than the layout.</summary>
    internal bool TryFill(ReadOnlySpan<byte> hex)
    {
        if (hex.Length % 2 != 0 || hex.Length / 2 > _bytes.Length)
        {
            return false;
        }

        Received = hex.Length / 2;
        if (Received == _bytes.Length && HexText.TryDecode(hex, _bytes, out _))
        {
            _anyMissing = false;
            return true;
        }

        _anyMissing = true;
        _missing.SetAll(true);
        _bytes.AsSpan().Clear();
        return TryFillBytes(hex, 0);
    }

    /// <summary>Takes a `p` reply; false when it is malformed or of another size.</summary>
    internal bool TryFill(RegisterDescription register, ReadOnlySpan<byte> hex)
    {
        if (hex.Length != register.ByteSize * 2)
        {
            return false;
        }

        if (!_anyMissing)
        {
            _missing.SetAll(false);
            _anyMissing = true;
        }

        return TryFillBytes(hex, register.Offset);
    }

    private bool TryFillBytes(ReadOnlySpan<byte> hex, int offset)
    {
        for (var i = 0; i < hex.Length / 2; i++)
        {
            var pair = hex.Slice(i * 2, 2);
            var value = HexText.ParseByte(pair);
            var missing = pair.SequenceEqual("xx"u8);
            if (value < 0 && !missing)
            {
                return false;
            }

            _bytes[offset + i] = missing ? (byte)0 : (byte)value;
            _missing[offset + i] = missing;
        }

        return true;
    }
}

/// <summary>Some registers by name, looked up once, for reading them at every stop.</summary>
public sealed class RegisterSelection
{
    private readonly RegisterDescription?[] _registers;

    internal RegisterSelection(RegisterDescription?[] registers) => _registers = registers;

    public int Count => _registers.Length;

    /// <summary>The description of the i-th name, or null when the target has no such register.</summary>
    public RegisterDescription? this[int index] => _registers[index];

    /// <summary>Writes the values in the order of the names, 0 where unknown.</summary>
    /// <returns>A bit for each value that is known: the target has the register, in at most 64 bits, and the stub sent it.</returns>
    public ulong Read(RegisterBlock block, Span<ulong> values)
    {
        ulong known = 0;
        for (var i = 0; i < _registers.Length; i++)
        {
            values[i] = 0;
            if (_registers[i] is { } register && block.TryGetValue(register, out values[i]))
            {
                known |= 1UL << i;
            }
        }

        return known;
    }
}
