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

    /// <summary>A register's value by index (see <see cref="Architecture.RegisterNames"/>); setting makes it known.</summary>
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

    public RegisterSet Clone() => new(this);
}
