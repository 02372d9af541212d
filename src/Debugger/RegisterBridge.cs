using KTrace.Rsp;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger;

/// <summary>
/// The only place where the stub's registers (names and bytes) become an architecture's (numbers and values). They are joined by name.
/// </summary>
public sealed class RegisterBridge
{
    private readonly Architecture _architecture;
    private readonly RegisterSelection _selection;
    private readonly ulong[] _values;
    private readonly ulong _mask;

    public RegisterBridge(RegisterLayout layout, Architecture architecture)
    {
        _architecture = architecture;
        _selection = layout.Select([.. architecture.RegisterNames.Select(name => NameIn(layout, name))]);
        _mask = architecture.WordSize == 4 ? uint.MaxValue : ulong.MaxValue;
        _values = new ulong[architecture.RegisterNames.Length];
    }

    /// <summary>Whether the target's registers can be those of a kernel of this architecture.</summary>
    public static bool Fits(RegisterLayout layout, Architecture architecture) =>
        layout.TryFind(NameIn(layout, architecture.RegisterNames[architecture.ProgramCounter]), out _);

    /// <summary>The register that holds the pc, for writing it.</summary>
    public static RegisterDescription ProgramCounterIn(RegisterLayout layout, Architecture architecture) =>
        layout.TryFind(NameIn(layout, architecture.RegisterNames[architecture.ProgramCounter]), out var register)
            ? register
            : throw new TargetException($"the stub has no register {architecture.RegisterNames[architecture.ProgramCounter]}", $"start a QEMU for {architecture.Name}");

    public RegisterSet ToRegisterSet(RegisterBlock block)
    {
        var known = _selection.Read(block, _values);
        var registers = new RegisterSet(_architecture);
        for (var i = 0; i < _values.Length; i++)
        {
            if ((known & (1UL << i)) != 0)
            {
                registers[i] = _values[i] & _mask;
            }
        }

        return registers;
    }

    /// <summary>qemu-system-x86_64 names its registers rax … whatever runs in it; a 32-bit kernel's eax is the lower half.</summary>
    private static string NameIn(RegisterLayout layout, string name) =>
        !layout.TryFind(name, out _) && name[0] == 'e' && layout.TryFind("r" + name[1..], out _) ? "r" + name[1..] : name;
}
