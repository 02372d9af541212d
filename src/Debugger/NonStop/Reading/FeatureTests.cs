// What static_cpu_has asks until the kernel has patched its alternatives (arch/x86/include/asm/cpufeature.h, _static_cpu_has; 5.10 to 6.12): a test of a bit, a conditional jump, and a jump back into the function that asks,
//   f6 05 disp32 imm8 | f6 04 25 disp32 imm8 (i386: f6 05 addr32 imm8)
//   0f 85 rel32
//   e9 rel32
// all of them in .altinstr_aux, outside of every function and without unwind rows. An interrupt that comes there early in a boot has interrupted the function: registers and stack are the same behind the jump.
using System.Buffers.Binary;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>The kernel's tests of processor features that lie outside of the functions that ask.</summary>
internal sealed class FeatureTests
{
    private const string Section = ".altinstr_aux";
    private const int JumpLength = 5, BranchLength = 6;

    private readonly KernelMap _map;
    private readonly (ulong Start, ulong End) _range;

    public FeatureTests(KernelMap map)
    {
        _map = map;
        var section = map.Image.File.Sections.FirstOrDefault(s => s is { IsAllocated: true } && s.Name == Section);
        _range = section is null ? default : (section.Address, section.Address + section.Size);
    }

    /// <summary>Where the function goes on that asked, at run time; null for an address anywhere else.</summary>
    public ulong? BackFrom(ulong address)
    {
        var linked = _map.ToLinkTime(address);
        if (linked < _range.Start || linked >= _range.End)
        {
            return null;
        }

        Span<byte> code = stackalloc byte[JumpLength];
        linked += At(linked, code) && code[0] == 0xf6 ? code[1] == 0x05 ? 7ul : 8 : 0;
        linked += At(linked, code) && code is [0x0f, 0x85, ..] ? BranchLength : 0ul;
        return At(linked, code) && code[0] == 0xe9 ? _map.ToRunTime(linked + JumpLength + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[1..])) : null;
    }

    private bool At(ulong linked, Span<byte> code) => linked + JumpLength <= _range.End && _map.Image.TryRead(linked, code);
}
