using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Recovery;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>Assembly, linked by the real tools, and the questions that are put to it.</summary>
internal sealed class AssembledCode : IDisposable
{
    private readonly ScratchFolder _folder = new();
    private readonly FlowLibrary _library;
    private readonly ElfSymbolTable _symbols;

    /// <param name="body">Functions; each gets type and size by the macros <c>func NAME</c> and <c>endf NAME</c>.</param>
    /// <param name="objects">Variables of the frame, in scope everywhere; null when nobody knows.</param>
    public AssembledCode(string body, bool is64 = true, params FrameObject[]? objects)
    {
        var source = _folder.File("code.s");
        File.WriteAllText(source, """
            .macro func name
            .globl \name
            .type \name, @function
            \name:
            .endm
            .macro endf name
            .size \name, . - \name
            .endm
            .text

            """ + body + "\n.section .note.GNU-stack,\"\",@progbits\n");
        var output = _folder.File("code");
        PeerProgram.Run("gcc", [is64 ? "-m64" : "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-e0,--build-id=none", "-o", output, source]);
        var file = ElfFile.Open(output);
        _symbols = new ElfSymbolTable(file);
        _library = new FlowLibrary(CodeObject.OfFile(file, _symbols, is64 ? X86_64.Instance : I386.Instance), objects is { Length: > 0 } ? _ => [.. objects] : null);
    }

    public bool IsUnderstood(string function) => _library.FlowOf(Address(function)) is not null;

    public ulong Address(string label) => _symbols.Find(label)[0].Symbol.Value;

    /// <summary>Where the value is that a register had at the function's entry, at the return address that carries a label.</summary>
    public IReadOnlyList<ValueRecipe> AtEntry(string returnLabel, int register) =>
        _library.Ask(new FlowQuestion(Address(returnLabel), true, FlowQuestion.Entry, register)).Recipes;

    /// <summary>What the call before a label passed.</summary>
    public IReadOnlyList<ValueRecipe> Passed(string returnLabel, int register) =>
        _library.Ask(new FlowQuestion(Address(returnLabel), true, FlowQuestion.Call, register)).Recipes;

    public IReadOnlyList<ValueRecipe> PassedOnStack(string returnLabel, int offset, int size) =>
        _library.Ask(new FlowQuestion(Address(returnLabel), true, FlowQuestion.Call, -1, offset, size)).Recipes;

    /// <summary>Where the value is that a register had before the instruction at one label, at the return address that carries another.</summary>
    public IReadOnlyList<ValueRecipe> At(string returnLabel, string at, int register) =>
        _library.Ask(new FlowQuestion(Address(returnLabel), true, Address(at), register)).Recipes;

    /// <summary>Where the value is that memory held before the instruction at a label.</summary>
    public IReadOnlyList<ValueRecipe> Loaded(string returnLabel, string at, LoadedTerm term) =>
        _library.Ask(new FlowQuestion(Address(returnLabel), true, Address(at), -1, Loaded: term)).Recipes;

    /// <summary>In which register a tail call passes on what its function was entered with in another.</summary>
    public int PassedOn(string jump, int register) => _library.TryPassedOn(Address(jump), register, out var passedIn, out _, out _) ? passedIn : -1;

    /// <summary>The same at an instruction that has not run yet.</summary>
    public IReadOnlyList<ValueRecipe> StoppedAt(string label, int register) =>
        _library.Ask(new FlowQuestion(Address(label), false, FlowQuestion.Entry, register)).Recipes;

    /// <summary>Every way to the call before a return address leads through a label.</summary>
    public bool MustPass(string returnLabel, string through) => _library.MustPass(Address(returnLabel), true, Address(through));

    public void Dispose()
    {
        _library.Dispose();
        _folder.Dispose();
    }
}
