using System.Collections.Immutable;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>The registers of one frame. A register may be unknown: the callee did not save it, or the stub did not send it.</summary>
public sealed class RegisterSet
{
    private readonly ulong[] _values;
    private ulong _known;

    public RegisterSet(Architecture architecture)
    {
        Architecture = architecture;
        _values = new ulong[architecture.RegisterNames.Length];
    }

    private RegisterSet(RegisterSet other)
    {
        Architecture = other.Architecture;
        _values = (ulong[])other._values.Clone();
        _known = other._known;
    }

    public Architecture Architecture { get; }

    public ulong ProgramCounter => _values[Architecture.ProgramCounter];

    public ulong StackPointer => _values[Architecture.StackPointer];

    /// <summary>A register's value by index (see <see cref="Architecture.RegisterNames"/>), 0 while unknown; setting makes it known.</summary>
    public ulong this[int index]
    {
        get => _values[index];
        set
        {
            _values[index] = value;
            _known |= 1UL << index;
        }
    }

    public bool IsKnown(int index) => (uint)index < (uint)_values.Length && (_known & (1UL << index)) != 0;

    public void Forget(int index)
    {
        _values[index] = 0;
        _known &= ~(1UL << index);
    }

    /// <summary>Whether the same registers are known, with the same values.</summary>
    public bool HasValuesOf(RegisterSet other) => _known == other._known && _values.AsSpan().SequenceEqual(other._values);

    public RegisterSet Clone() => new(this);

    /// <summary>A mask of registers for <see cref="CloneOnly"/>.</summary>
    internal static ulong MaskOf(ImmutableArray<int> registers)
    {
        ulong mask = 0;
        foreach (var register in registers)
        {
            mask |= 1UL << register;
        }

        return mask;
    }

    /// <summary>A copy that knows only the registers in <paramref name="mask"/> (those of them that are known here).</summary>
    internal RegisterSet CloneOnly(ulong mask)
    {
        var copy = new RegisterSet(this);
        for (var lost = copy._known & ~mask; lost != 0; lost &= lost - 1)
        {
            copy._values[System.Numerics.BitOperations.TrailingZeroCount(lost)] = 0;
        }

        copy._known &= mask;
        return copy;
    }
}
