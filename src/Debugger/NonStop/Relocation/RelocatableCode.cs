using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>
/// An object's code, and what is known of each of its bytes: who jumps there, who rewrites it. The kernel's is at link-time addresses, a module's at those at which it runs. Making one reads
/// all code (a second for a distribution's kernel): keep it. For one thread at a time.
/// </summary>
public sealed class RelocatableCode
{
    private RelocatableCode(CodeObject code)
    {
        Code = code;
        Places = new PatchedPlaces(code);
        Forbidden = new ForbiddenText(code);
        Targets = new JumpTargets(code);
    }

    internal CodeObject Code { get; }

    internal PatchedPlaces Places { get; }

    internal ForbiddenText Forbidden { get; }

    internal JumpTargets Targets { get; }

    public static RelocatableCode Of(KernelImage image) => new(CodeObject.OfFile(image.File, image.Symbols, image.Architecture));

    /// <returns>Null when no file with the module's code is there.</returns>
    public static RelocatableCode? Of(KernelModule module) =>
        module.Code is { } code ? new RelocatableCode(CodeObject.OfModule(code, module.Architecture, module.Symbolizer)) : null;
}
