"""Libraries of physics and geometry: molecules, rigid bodies, cosmology, imaging, spheres, Lie groups.

One function a library; a library is imported only there, so one that is absent or does not import is reported, no more.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import INSIDE, POSITIVE, Calls, X, each, each_in, module, normal, under


def jax_md() -> Calls:
    """Spaces, energies, rotations and guarded functions of JAX MD."""
    space, energy, rigid = module("jax_md.space"), module("jax_md.energy"), module("jax_md.rigid_body")
    electro, util = module("jax_md._energy.electrostatics"), module("jax_md.util")
    positions = (np.random.default_rng(2).uniform(size=(6, 3)) * 3).astype(np.float32)
    box = np.diag([3.0, 3.2, 3.4]).astype(np.float32)
    free, shifted = space.free()[0], space.periodic(4.0)[0]
    turn = normal(4)
    turn = (turn / np.linalg.norm(turn)).astype(np.float32)
    charges = normal(6)
    made: Calls = {
        "space.transform": (space.transform, (box, positions / 3)),
        "space.transform(scalar box)": (space.transform, (np.float32(3), positions / 3)),
        "space.periodic_general": (
            lambda b, r: space.map_product(space.periodic_general(b)[0])(r, r), (box, positions / 3.5),
        ),
        "space.distance": (space.distance, (X,)), "space.distance(zeros)": (space.distance, (X * 0,)),
        "util.safe_norm": (util.safe_norm, (X,)), "util.safe_arccos": (util.safe_arccos, (INSIDE,)),
        "rigid_body.quaternion_rotate": (
            lambda q, v: rigid.quaternion_rotate(rigid.Quaternion(q), v), (turn, normal(3)),
        ),
        "electrostatics.transform_gradients": (electro.transform_gradients, (box, positions)),
        "electrostatics.coulomb_recip_ewald": (
            lambda r: electro.coulomb_recip_ewald(charges, box, 0.3, 2.0)(r), (positions,),
        ),
        "electrostatics.coulomb_recip_pme": (
            lambda r: electro.coulomb_recip_pme(charges, box, np.array([8, 8, 8]), fractional_coordinates=False)(r),
            (positions,),
        ),
        "energy.stillinger_weber": (lambda r: energy.stillinger_weber(free)(r), (positions,)),
        "energy.gupta_gold55": (lambda r: energy.gupta_gold55(free)(r), (positions,)),
        "energy.bks_silica_pair": (
            lambda r: energy.bks_silica_pair(free, np.array([0, 1, 1, 0, 1, 1]))(r), (positions,),
        ),
    }  # fmt: skip
    pairs = "soft_sphere_pair lennard_jones_pair morse_pair"
    made |= under("energy", each_in(lambda energy, r: energy(shifted)(r), energy, pairs, positions))
    guarded = module("jax_md.mm_forcefields.reaxff.reaxff_helper")
    made["reaxff_helper.safe_sqrt"] = (guarded.safe_sqrt, (POSITIVE,))
    made["reaxff_helper.safe_sqrt(zeros)"] = (guarded.safe_sqrt, (np.maximum(X, 0),))
    rotation, kernels = module("jax_md._nn.uma.common.rotation"), module("jax_md._nn.uma.kernels")
    made["rotation.safe_acos"] = (rotation.safe_acos, (INSIDE,))
    made["rotation.safe_acos(ends)"] = (rotation.safe_acos, (np.array([-1, 0.3, 1], np.float32),))
    made["rotation.safe_atan2"] = (rotation.safe_atan2, (X[0], X[1]))
    made["rotation.init_edge_rot_euler_angles"] = (rotation.init_edge_rot_euler_angles, (normal(4, 3),))
    sizes = np.array([3, 0, 2, 1])
    made["kernels.segment_mm"] = (lambda x, w: kernels.segment_mm(x, w, jnp.asarray(sizes)), (X.T, normal(4, 3, 4)))
    made["kernels.segment_mm(three axes)"] = (
        lambda x, w: kernels.segment_mm(x, w, jnp.asarray(sizes)), (normal(6, 2, 4), normal(4, 3, 4)),
    )  # fmt: skip
    return under("jax_md", made)


def brax() -> Calls:
    """Rotations and guarded functions of brax, and a step of each of its engines."""
    math, base = module("brax.math"), module("brax.base")
    quaternion, vector = normal(4), normal(3)
    quaternion = (quaternion / np.linalg.norm(quaternion)).astype(np.float32)
    made = each(math, "safe_arccos safe_arcsin", INSIDE)
    made |= {f"{n}(ends)": (f, (np.array([-1, -0.5, 1], np.float32),)) for n, (f, _) in list(made.items())}
    made |= each(math, "rotate inv_rotate", vector, quaternion)
    made |= each(math, "quat_to_3x3 quat_to_euler quat_inv", quaternion)
    made |= each(math, "signed_angle relative_quat", *(quaternion, quaternion[::-1].copy()))
    made.pop("signed_angle")
    made |= {
        "signed_angle": (math.signed_angle, (vector, normal(3, seed=2), normal(3, seed=3))),
        "safe_norm": (math.safe_norm, (vector,)), "safe_norm(zeros)": (math.safe_norm, (vector * 0,)),
        "normalize": (math.normalize, (vector,)), "from_to": (math.from_to, (vector, normal(3, seed=2))),
        "euler_to_quat": (math.euler_to_quat, (vector,)),
        "inv_3x3": (math.inv_3x3, (normal(3, 3) + 2 * np.eye(3, dtype="f"),)),
        "orthogonals": (math.orthogonals, (vector / np.linalg.norm(vector).astype(np.float32),)),
        "Transform.do": (
            lambda p, q, v: base.Transform(p, q).do(base.Transform.create(pos=v)).pos, (vector, quaternion, vector + 1),
        ),
    }  # fmt: skip
    text = """<mujoco><option timestep="0.01"/><worldbody><body><joint type="hinge" axis="0 1 0" damping="0.1"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5"/><body pos="0 0 -0.5"><joint type="hinge" axis="0 1 0"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5"/></body></body></worldbody>
      <actuator><motor joint="a" gear="1"/></actuator></mujoco>""".replace(
        'type="hinge" axis="0 1 0"/>', 'name="a" type="hinge" axis="0 1 0"/>'
    )
    system = module("brax.io.mjcf").loads(text)
    for engine in ("generalized", "spring", "positional"):
        pipeline = module(f"brax.{engine}.pipeline")

        def step(q: Any, v: Any, u: Any, p: Any = pipeline) -> Any:
            after = p.step(system, p.init(system, q, v), u)
            return after.q, after.qd

        made[f"{engine}.pipeline.step"] = (step, (X[0, :2], X[1, :2], X[2, :1]))
    return under("brax", made)


def mujoco_mjx() -> Calls:
    """Signed distances and rotations of MJX, and a step of a double pendulum."""
    mujoco, mjx = module("mujoco"), module("mujoco.mjx")
    shapes, math = module("mujoco.mjx._src.collision_sdf"), module("mujoco.mjx._src.math")
    size = np.array([0.5, 0.7, 0.9], np.float32)
    points = {
        "outside": normal(3) * 2,
        "inside": np.array([0.1, 0.2, 0.3], np.float32),
        "above": np.array([0.1, 0.2, 1.5], np.float32),
        "beside": np.array([1.5, 0.4, 0.1], np.float32),
    }
    made: Calls = {
        f"collision_sdf.{name}, {where}": (getattr(shapes, f"_{name}"), (point, size))
        for name in ("cylinder", "capsule", "ellipsoid", "sphere", "plane")
        for where, point in points.items()
        if name == "cylinder" or where == "outside"
    }
    quaternion, vector = normal(4), normal(3)
    quaternion = (quaternion / np.linalg.norm(quaternion)).astype(np.float32)
    made |= each(math, "rotate", vector, quaternion) | each(math, "quat_to_mat quat_to_axis_angle", quaternion)
    made |= each(math, "norm normalize make_frame", vector)
    made["norm(zeros)"] = (math.norm, (vector * 0,))
    made["quat_integrate"] = (math.quat_integrate, (quaternion, vector, np.float32(0.1)))
    text = """<mujoco><option timestep="0.01" jacobian="dense" iterations="4" ls_iterations="4"/><worldbody>
      <body pos="0 0 2"><joint name="a" type="hinge" axis="0 1 0" damping="0.1"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5" contype="0" conaffinity="0"/></body></worldbody>
      <actuator><motor joint="a" gear="1"/></actuator></mujoco>"""
    model = mjx.put_model(mujoco.MjModel.from_xml_string(text))
    state = mjx.make_data(model)

    def step(q: Any, v: Any, u: Any) -> Any:
        after = mjx.step(model, state.replace(qpos=q, qvel=v, ctrl=u))
        return after.qpos, after.qvel

    made["step"] = (step, (X[0, :1], X[1, :1], X[2, :1]))
    return under("mujoco.mjx", made)


def s2fft() -> Calls:
    """Spherical harmonic transforms of s2fft, whose primitives have transposes of their own."""
    jax.config.update("jax_enable_x64", True)  # s2fft computes in float64 alone
    spherical, wigner, sampling = (
        module("s2fft.transforms.spherical"),
        module("s2fft.transforms.wigner"),
        module("s2fft.sampling.s2_samples"),
    )
    degree = 4
    made: Calls = {}
    for kind in ("mw", "mwss", "dh", "gl"):
        coefficients = normal(*sampling.flm_shape(degree)) + 1j * normal(*sampling.flm_shape(degree), seed=2)
        signal = normal(*sampling.f_shape(degree, kind)) + 1j * normal(*sampling.f_shape(degree, kind), seed=3)
        for spin in (0, 1):
            made[f"inverse({kind}, spin {spin})"] = (
                lambda c, k=kind, s=spin: spherical.inverse_jax(c, degree, s, sampling=k),
                (coefficients.astype(complex),),
            )  # fmt: skip
            made[f"forward({kind}, spin {spin})"] = (
                lambda f, k=kind, s=spin: spherical.forward_jax(f, degree, s, sampling=k), (signal.astype(complex),),
            )  # fmt: skip
    real = normal(*sampling.f_shape(degree, "mw")).astype(float)
    made["forward(mw, real)"] = (lambda f: spherical.forward_jax(f, degree, 0, sampling="mw", reality=True), (real,))
    made["wigner.inverse(mw)"] = (
        lambda c: wigner.inverse_jax(c, 3, 2, sampling="mw"), (normal(3, 3, 5) + 1j * normal(3, 3, 5, seed=2),),
    )  # fmt: skip
    return under("s2fft", made)


def scico() -> Calls:
    """Functionals and linear operators of scico."""
    functional, linop = module("scico.functional"), module("scico.linop")
    x = normal(6, 6)
    names = "L1Norm SquaredL2Norm L2Norm L21Norm HuberNorm NuclearNorm"
    made = under(
        "functional",
        each_in(lambda norm, v: norm()(v), functional, f"{names} AnisotropicTVNorm IsotropicTVNorm", x),
    )
    proximal = each_in(lambda norm, v: norm().prox(v, 0.3), functional, f"{names} NonNegativeIndicator", x)
    made |= under("prox", proximal)
    operators = {
        "CircularConvolve": linop.CircularConvolve(jnp.asarray(normal(3, 3)), (6, 6)),
        "Convolve": linop.Convolve(jnp.asarray(normal(3, 3)), (6, 6)), "DFT": linop.DFT((6, 6)),
        "FiniteDifference": linop.FiniteDifference((6, 6)), "Sum": linop.Sum((6, 6), axis=0),
        "Diagonal": linop.Diagonal(jnp.asarray(normal(6, 6))), "Pad": linop.Pad((6, 6), 1),
    }  # fmt: skip
    made |= {f"linop.{name}": (lambda v, o=operator: o(v), (x,)) for name, operator in operators.items()}
    adjoint = {n: o for n, o in operators.items() if n != "DFT"}
    made |= {f"linop.{n}.adj": (lambda v, o=o: o.adj(o(v)), (x,)) for n, o in adjoint.items()}
    return under("scico", made)


def jax_cosmo() -> Calls:
    """Distances, growth and power spectra of jax-cosmo, of its parameters."""
    background, power = module("jax_cosmo.background"), module("jax_cosmo.power")
    parameters = module("jax_cosmo.parameters")
    scale, waves = np.array([0.4, 0.7, 0.9], np.float32), np.array([0.01, 0.1, 1.0], np.float32)

    def of(function: Any) -> Any:
        return lambda omega, h, a: function(parameters.Planck15(Omega_c=omega, h=h), a)

    at = (np.float32(0.26), np.float32(0.68))
    made: Calls = {
        name: (of(getattr(background, name)), (*at, scale))
        for name in "radial_comoving_distance angular_diameter_distance growth_factor growth_rate H Omega_m_a".split()
    }
    made["linear_matter_power"] = (of(power.linear_matter_power), (*at, waves))
    made["nonlinear_matter_power"] = (of(power.nonlinear_matter_power), (*at, waves))
    return under("jax_cosmo", made)


def jaxlie() -> Calls:
    """Exponentials, logarithms and adjoints of jaxlie, also at the identity."""
    jl = module("jaxlie")
    made: Calls = {}
    for name, size in {"SO2": 1, "SO3": 3, "SE2": 3, "SE3": 6}.items():
        group, tangent = getattr(jl, name), normal(size)
        for words, v in {"": tangent, "(identity)": tangent * 0}.items():
            made[f"{name}.exp{words}"] = (lambda t, g=group: g.exp(t).as_matrix(), (v,))
            made[f"{name}.log{words}"] = (lambda t, g=group: g.exp(t).log(), (v,))
        made[f"{name}.adjoint"] = (lambda t, g=group: g.exp(t).adjoint(), (tangent,))
        made[f"{name}.apply"] = (
            lambda t, p, g=group: g.exp(t).apply(p), (tangent, normal(2 if name.endswith("2") else 3)),
        )  # fmt: skip
    made["manifold.rplus"] = (
        lambda t, d: jl.manifold.rplus(jl.SE3.exp(t), d).as_matrix(), (normal(6), normal(6, seed=2)),
    )  # fmt: skip
    return under("jaxlie", made)


def jaxdecomp() -> Calls:
    """Distributed Fourier transforms, transpositions and halos of jaxDecomp, on one device."""
    jd = module("jaxdecomp")
    box = normal(4, 4, 4)
    mesh = jax.make_mesh((1, 1), ("x", "y"))
    placed = jax.device_put(box, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x", "y")))
    made: Calls = {
        "pfft3d": (lambda a: jnp.abs(jd.fft.pfft3d(a + 0j)) ** 2, (placed,)),
        "pifft3d": (lambda a: jd.fft.pifft3d(jd.fft.pfft3d(a + 0j)).real, (placed,)),
        "transposeXtoY": (jd.transposeXtoY, (placed,)), "transposeYtoZ": (jd.transposeYtoZ, (placed,)),
        "halo_exchange": (
            lambda a: jd.halo_exchange(a, halo_extents=(1, 1), halo_periods=(True, True)), (placed,),
        ),
    }  # fmt: skip
    return under("jaxdecomp", made)


def signax() -> Calls:
    """Signatures of paths."""
    sx, path = module("signax"), normal(5, 2)
    return under(
        "signax",
        {
            "signature": (lambda p: sx.signature(p, 3), (path,)),
            "logsignature": (lambda p: sx.logsignature(p, 3), (path,)),
        },
    )


LIBRARIES = {
    "jax_md": jax_md, "brax": brax, "mujoco.mjx": mujoco_mjx, "s2fft": s2fft, "scico": scico, "jax_cosmo": jax_cosmo,
    "jaxlie": jaxlie, "jaxdecomp": jaxdecomp, "signax": signax,
}  # fmt: skip
