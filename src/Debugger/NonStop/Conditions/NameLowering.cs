using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>What names and registers of a condition are, in the order of <see cref="NameLookup"/>.</summary>
internal sealed class NameLowering(EntryScope scope, BasicTypes types)
{
    private const int StackPointer = 4;

    // The instruction set's numbers.
    private static readonly string[] Names64 = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    private static readonly string[] Names32 = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

    private int Word => types.AddressSize;

    /// <exception cref="UncompilableException">There is no such value, or only a stop knows it.</exception>
    public Operand Find(Syntax.Identifier node)
    {
        if (!node.IsScoped && scope.FindParameter(node.Name) is { } parameter)
        {
            return Parameter(parameter);
        }

        if (!node.IsScoped && scope.IsLocal(node.Name))
        {
            throw new UncompilableException($"{node.Name} is a variable inside the function: at its entry it has no value");
        }

        if (!node.IsScoped && node.Name == "current")
        {
            return scope.Types.FindType(TypeTag.Struct, "task_struct") is { } task
                ? Operand.Computed(types.PointerTo(task), new ConditionNode.Task())
                : throw new UncompilableException("the current task is not known here");
        }

        var (value, isPerCpu, failure) = NameLookup.Find(scope, node.Name, node.IsScoped, types);
        if (value is null)
        {
            throw new UncompilableException(failure!);
        }

        if (value.Address is not { } address)
        {
            return value.Number is { } number
                ? Operand.Computed(value.Type, new ConditionNode.Constant(number))
                : throw new UncompilableException($"{node.Name} has no value");
        }

        var module = (scope.Types.FindVariable(node.Name) ?? scope.Types.FindFunction(node.Name))?.Module;
        return Operand.InMemory(value.Type, isPerCpu ? ConditionNode.Add(PerCpuOffset(), PerCpuTemplate(node.Name, module, address)) : AddressOf(node.Name, module, address));
    }

    /// <summary>A register at the function's entry; numbers are unsigned long, as at a stop.</summary>
    /// <exception cref="UncompilableException">It is none that a trampoline knows.</exception>
    public Operand Register(string name)
    {
        var names = Word == 8 ? Names64 : Names32;
        switch (name)
        {
            case "cpu":
                return Operand.Computed(types.Int, new ConditionNode.Cpu());
            case "percpu":
                return Operand.Computed(types.UnsignedLong, PerCpuOffset());
            case "pc":
            case "rip" when Word == 8:
            case "eip" when Word == 4:
                return Operand.Computed(types.PointerTo(new FunctionType(() => VoidType.Instance, () => [], isVariadic: false)), AddressOf("the function", scope.Module, scope.Entry));
            case "sp":
                name = names[StackPointer];
                break;
            case "fp":
                name = names[StackPointer + 1];
                break;
            case "ret":
                throw new UncompilableException("$ret is known only where the function has returned");
        }

        var number = Array.IndexOf(names, name);
        if (number >= 0)
        {
            return Operand.Computed(number == StackPointer ? types.PointerTo(VoidType.Instance) : types.UnsignedLong, new ConditionNode.Register(number));
        }

        // The lower halves.
        number = Word == 8 && name.Length == 3 && name[0] == 'e' ? Array.IndexOf(names, "r" + name[1..]) : -1;
        return number >= 0
            ? Operand.Computed(types.UnsignedInt, new ConditionNode.Widen(new ConditionNode.Register(number), 32, IsSigned: false))
            : throw new UncompilableException($"the register ${name} is not known at an entry");
    }

    /// <summary>What is added to the address of a per-cpu variable's template for this CPU: mm/percpu.c, __per_cpu_offset; without it there is one CPU.</summary>
    public ConditionNode PerCpuOffset() =>
        scope.Types.FindVariable("__per_cpu_offset") is { } offsets
            ? new ConditionNode.Load(ConditionNode.Add(ConditionNode.Scale(new ConditionNode.Cpu(), Word), AddressOf(offsets.Name, offsets.Module, offsets.Address)), Word, IsSigned: false)
            : new ConditionNode.Constant(0);

    private Operand Parameter(EntryPlace parameter)
    {
        var (name, type) = (parameter.Variable.Name, parameter.Variable.Type);
        var bits = 8 * parameter.Size;
        switch (parameter.Kind)
        {
            case EntryPlaceKind.Unknown when type.Resolved is StructType or ArrayType or FloatType:
                throw new UncompilableException($"{name} is {Evaluation.Article(type)}, which is passed in several registers or in memory");
            case EntryPlaceKind.Unknown:
                throw new UncompilableException($"{name} is optimized out here (it is an argument)");
            case not EntryPlaceKind.Constant when parameter.Size > Word:
                throw new UncompilableException($"{name} has more than {8 * Word} bits");
            case EntryPlaceKind.Register:
                return Operand.Computed(type, ConditionNode.Extend(new ConditionNode.Register(parameter.Place), bits, parameter.IsSigned, 8 * Word));
            case EntryPlaceKind.Stack:
                return Operand.InMemory(type, ConditionNode.Add(new ConditionNode.Register(StackPointer), new ConditionNode.Constant(parameter.Place)));
            default:
                return Operand.Computed(type, new ConditionNode.Constant((long)parameter.Constant));
        }
    }

    /// <summary>An address of the kernel moves with KASLR; a module's is where it was loaded, and where another module than the function's will be nobody knows.</summary>
    private ConditionNode.Constant AddressOf(string name, string? module, ulong address) =>
        module is null ? new ConditionNode.Constant((long)address, IsKernelAddress: true)
        : module == scope.Module ? new ConditionNode.Constant((long)address)
        : throw new UncompilableException($"{name} lies in another module ({module})");

    /// <summary>x86-64 links per-cpu variables from 0 on: those addresses are offsets, and do not move.</summary>
    private ConditionNode.Constant PerCpuTemplate(string name, string? module, ulong address) =>
        module is not null ? throw new UncompilableException($"{name} is a module's per-cpu variable")
        : scope.IsPerCpuOffset(address) ? new ConditionNode.Constant((long)address)
        : AddressOf(name, null, address);
}
