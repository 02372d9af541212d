// Capstone 4's own interface (include/capstone/{capstone,x86}.h, version 4.0), because the managed wrapper makes a dozen objects an instruction.
// Structures: cs_insn { u32 id; u64 address; u16 size; u8 bytes[16]; char mnemonic[32], op_str[160]; cs_detail *detail; },
// cs_detail { u16 regs_read[12]; u8; u16 regs_write[20]; u8; u8 groups[8]; u8; cs_x86 x86; }, cs_x86 with 8 cs_x86_op of 48 bytes each.
// Operands come in Intel's order. Addresses are unsigned here, so that branch targets are right for the kernel's half of memory.
// What Capstone says about operand access is not used: it is wrong for enough instructions; whoever computes with them assumes a write.
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Gee.External.Capstone;
using Gee.External.Capstone.X86;
using Architecture = KTrace.Symbols.Arch.Architecture;

namespace KTrace.Symbols.Disassembly;

/// <summary>Machine code to operands. For one thread at a time.</summary>
internal sealed unsafe partial class InstructionDecoder : IDisposable
{
    private const int DetailOffset = 232, WrittenOffset = 26, WrittenCountOffset = 66, X86Offset = 80;
    private const int OperandCountOffset = 64, OperandsOffset = 72, OperandSize = 48;
    private const int ArchitectureX86 = 3, Mode16 = 2, Mode32 = 4, Mode64 = 8, OptionDetail = 2, OptionOn = 3;
    private const int OperandRegister = 1, OperandImmediate = 2, OperandMemory = 3;

    private readonly bool _is64;
    private readonly sbyte[] _indexes = new sbyte[256];
    private readonly byte[] _sizes = new byte[256];
    private readonly bool[] _highBytes = new bool[256];
    private nint _handle;
    private byte* _instruction;

    static InstructionDecoder()
    {
        // The wrapper's own initializer finds the library that its package brings along; ours is asked for by the same name.
        _ = CapstoneDisassembler.Version;
    }

    /// <param name="bits">Of the mode that the code runs in (16, 32, 64), where it is not the architecture's own.</param>
    public InstructionDecoder(Architecture architecture, int? bits = null)
    {
        _is64 = architecture.WordSize == 8;
        FillRegisters(architecture);
        nint handle = 0;
        var mode = (bits ?? architecture.WordSize * 8) switch { 64 => Mode64, 16 => Mode16, _ => Mode32 };
        if (Open(ArchitectureX86, mode, &handle) != 0)
        {
            throw new InvalidOperationException("Capstone has no x86");
        }

        _handle = handle;
        _ = SetOption(handle, OptionDetail, OptionOn);
        _instruction = Allocate(handle);
    }

    ~InstructionDecoder() => Free();

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Decodes the first instruction; false where there is none that Capstone knows.</summary>
    /// <param name="address">Where the code's first byte stands.</param>
    public bool TryDecode(ReadOnlySpan<byte> code, ulong address, out MachineInstruction instruction)
    {
        instruction = default;
        ObjectDisposedException.ThrowIf(_handle == 0, this);
        if (code.Length >= 4 && code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e && code[3] is 0xfa or 0xfb)
        {
            // endbr64, endbr32: a nop.
            instruction = new MachineInstruction { Address = address, Id = X86InstructionId.X86_INS_NOP, Length = 4 };
            return true;
        }

        fixed (byte* start = code)
        {
            var at = start;
            var left = (nuint)code.Length;
            var next = address;
            if (!IsTrue(Iterate(_handle, &at, &left, &next, _instruction)))
            {
                return false;
            }
        }

        instruction.Address = address;
        instruction.Id = (X86InstructionId)(*(int*)_instruction);
        instruction.Length = (byte)*(ushort*)(_instruction + 16);
        var detail = *(byte**)(_instruction + DetailOffset);
        var x86 = detail + X86Offset;
        instruction.HasRepeat = x86[0] is 0xf2 or 0xf3;
        instruction.HasNarrowPrefix = x86[2] == 0x66;
        for (var i = 0; i < Math.Min((int)detail[WrittenCountOffset], 20); i++)
        {
            var index = _indexes[*(ushort*)(detail + WrittenOffset + (2 * i)) & 0xff];
            instruction.ImplicitlyWritten |= index >= 0 ? 1u << index : 0;
        }

        instruction.OperandCount = (byte)Math.Min((int)x86[OperandCountOffset], 4);
        for (var i = 0; i < instruction.OperandCount; i++)
        {
            var operand = ReadOperand(x86 + OperandsOffset + (i * OperandSize), instruction.End);
            switch (i)
            {
                case 0: instruction.First = operand; break;
                case 1: instruction.Second = operand; break;
                case 2: instruction.Third = operand; break;
                default: instruction.Fourth = operand; break;
            }
        }

        return true;
    }

    private MachineOperand ReadOperand(byte* operand, ulong end)
    {
        var size = operand[32];
        switch (*(int*)operand)
        {
            case OperandRegister:
                var register = *(int*)(operand + 8) & 0xff;
                return _indexes[register] >= 0
                    ? new MachineOperand(OperandKind.Register, _sizes[register], _highBytes[register], _indexes[register], MachineOperand.NoRegister, 1, false, 0)
                    : new MachineOperand(OperandKind.OtherRegister, size, false, MachineOperand.NoRegister, MachineOperand.NoRegister, 1, false, register);
            case OperandImmediate:
                return new MachineOperand(OperandKind.Immediate, size, false, MachineOperand.NoRegister, MachineOperand.NoRegister, 1, false, *(long*)(operand + 8));
            case OperandMemory:
                var segment = (X86RegisterId)(*(int*)(operand + 8));
                var (based, index) = (*(int*)(operand + 12), *(int*)(operand + 16));
                var isPcRelative = (X86RegisterId)based is X86RegisterId.X86_REG_RIP or X86RegisterId.X86_REG_EIP;
                var displacement = *(long*)(operand + 24);
                return new MachineOperand(
                    OperandKind.Memory,
                    size,
                    false,
                    isPcRelative ? MachineOperand.ProgramCounterBase : based == 0 ? MachineOperand.NoRegister : _indexes[based & 0xff],
                    index == 0 || (X86RegisterId)index is X86RegisterId.X86_REG_RIZ or X86RegisterId.X86_REG_EIZ ? MachineOperand.NoRegister : _indexes[index & 0xff],
                    (byte)*(int*)(operand + 20),
                    segment is X86RegisterId.X86_REG_FS or X86RegisterId.X86_REG_GS,
                    isPcRelative ? (long)(end + (ulong)displacement) : displacement);
            default:
                return new MachineOperand(OperandKind.OtherRegister, size, false, MachineOperand.NoRegister, MachineOperand.NoRegister, 1, false, 0);
        }
    }

    /// <summary>rax, eax, ax, al and ah are one register.</summary>
    private void FillRegisters(Architecture architecture)
    {
        Array.Fill(_indexes, (sbyte)-1);
        foreach (var id in Enum.GetValues<X86RegisterId>())
        {
            var name = id.ToString();
            if (!name.StartsWith("X86_REG_", StringComparison.Ordinal) || (int)id > 255)
            {
                continue;
            }

            name = name["X86_REG_".Length..].ToLowerInvariant();
            var (core, size, isHigh) = Split(name);
            var index = core is null ? -1 : architecture.IndexOf((_is64 ? "r" : "e") + core);
            if (index is >= 0 and < 16 && index < architecture.ProgramCounter)
            {
                (_indexes[(int)id], _sizes[(int)id], _highBytes[(int)id]) = ((sbyte)index, (byte)size, isHigh);
            }
        }
    }

    /// <summary>The name without width: ax for al, r8's 8 for r8d.</summary>
    private static (string? Core, int Size, bool IsHigh) Split(string name)
    {
        if (name is ['r', >= '0' and <= '9', ..])
        {
            var size = name[^1] switch { 'd' => 4, 'w' => 2, 'b' => 1, _ => 8 };
            return (size == 8 ? name[1..] : name[1..^1], size, false);
        }

        return name switch
        {
            "al" or "bl" or "cl" or "dl" => (name[..1] + "x", 1, false),
            "ah" or "bh" or "ch" or "dh" => (name[..1] + "x", 1, true),
            "sil" or "dil" or "bpl" or "spl" => (name[..2], 1, false),
            "ax" or "bx" or "cx" or "dx" or "si" or "di" or "bp" or "sp" => (name, 2, false),
            ['e', .. var core] => (core, 4, false),
            ['r', .. var core] => (core, 8, false),
            _ => (null, 0, false),
        };
    }

    private static bool IsTrue(byte value) => value != 0;

    private void Free()
    {
        if (_handle != 0)
        {
            FreeInstructions(_instruction, 1);
            var handle = _handle;
            _ = Close(&handle);
            _handle = 0;
            _instruction = null;
        }
    }

    [LibraryImport("capstone", EntryPoint = "cs_open")]
    private static partial int Open(int architecture, int mode, nint* handle);

    [LibraryImport("capstone", EntryPoint = "cs_close")]
    private static partial int Close(nint* handle);

    [LibraryImport("capstone", EntryPoint = "cs_option")]
    private static partial int SetOption(nint handle, int option, nuint value);

    [LibraryImport("capstone", EntryPoint = "cs_malloc")]
    private static partial byte* Allocate(nint handle);

    [LibraryImport("capstone", EntryPoint = "cs_free")]
    private static partial void FreeInstructions(byte* instructions, nuint count);

    [LibraryImport("capstone", EntryPoint = "cs_disasm_iter")]
    private static partial byte Iterate(nint handle, byte** code, nuint* size, ulong* address, byte* instruction);
}
